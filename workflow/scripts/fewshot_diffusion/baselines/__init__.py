"""Generative models whose latent is learnt: what few labels are turned into samples by in other people's papers."""
