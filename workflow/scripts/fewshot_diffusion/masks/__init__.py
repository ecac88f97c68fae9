"""Experiment 2: samples that follow a mask."""
