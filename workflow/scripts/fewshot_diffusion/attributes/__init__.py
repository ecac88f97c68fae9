"""Experiment 1: samples with a wanted attribute (Table 1)."""
