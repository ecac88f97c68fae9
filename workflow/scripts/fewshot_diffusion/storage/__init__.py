"""Files: how anything is written, read back and verified."""
