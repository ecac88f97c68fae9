"""Draw the latents of a generative baseline's prior; nothing is decoded."""

from fewshot_diffusion import cli
from fewshot_diffusion.baselines.sampling import draw_baseline_latents

if __name__ == "__main__":
    cli.run(draw_baseline_latents)
