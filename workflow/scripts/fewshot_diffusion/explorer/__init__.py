"""The page on which people look at what was made: images, the judge's word, and the table's row, side by side."""
