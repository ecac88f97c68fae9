"""What the paper compares itself with, one module a method."""
