"""A model of one's own and some dozens of labels: from a folder to heads, learning curves, samples and a pipeline."""
