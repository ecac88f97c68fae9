"""Experiment 3: classifiers on real and generated images (Table 2)."""
