"""The unconditional diffusion model, and how it is steered and sampled."""
