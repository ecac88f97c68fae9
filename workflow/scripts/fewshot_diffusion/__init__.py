"""Few-shot conditional generation from unconditional diffusion models.

Guidance by denoiser representations after Graikos, Yellapragada and Samaras,
"Conditional Generation from Unconditional Diffusion Models using Denoiser
Representations", BMVC 2023.
"""

__version__ = "0.1.0"
