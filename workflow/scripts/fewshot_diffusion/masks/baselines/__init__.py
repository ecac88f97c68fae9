"""Generative baselines that follow masks in their latents."""
