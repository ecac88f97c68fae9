"""improved-diffusion's checkpoints: unconditional ImageNet at 64 pixels, with a learned variance.

Four heads whatever the width, and trained on 4,000 timesteps that the network reads on a scale of 1,000: diffusers'
``UNet2DModel`` knows neither, so these folders load through ``fewshot_diffusion.diffusion.unets``.

Source: Nichol and Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models", section 3 and appendix A.
"""

from .layout import Flags
from .numbered import numbered_layout

LAYOUT = numbered_layout(
    Flags(
        image_size=64,
        num_heads=4,
        use_new_attention_order=False,
        diffusion_steps=4000,
        noise_schedule="cosine",
        rescale_timesteps=True,
    )
)
