"""Denoisers of latents, with a prompt or without: Stable Diffusion's layout, and a small one trained here."""
