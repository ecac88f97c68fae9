"""What serves the workflow itself and its maintainers; no job computes with it."""
