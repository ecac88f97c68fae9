"""Images, masks and classes: from any source to the splits of an experiment."""
