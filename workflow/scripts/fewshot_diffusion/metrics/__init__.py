"""Distances between image sets, and their intervals."""
