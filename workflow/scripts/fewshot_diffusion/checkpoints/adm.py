"""guided-diffusion's checkpoints (ADM): FFHQ and LSUN at 256 pixels, with a learned variance.

Every switch but two is read off the weights. The two are flags: the width of heads, and the order of attention's rows,
which is the older one in all unconditional public checkpoints; a wrong one goes unnoticed until samples are looked at.

Source: Dhariwal and Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis", section 3.
"""

from .layout import Flags
from .numbered import numbered_layout

LAYOUT = numbered_layout(
    Flags(
        image_size=256,
        num_head_channels=64,
        use_new_attention_order=False,
        diffusion_steps=1000,
        noise_schedule="linear",
        rescale_timesteps=False,
    )
)
