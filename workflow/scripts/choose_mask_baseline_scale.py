"""Choose a generative baseline's guidance_scale by the tuning segmenter."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.baselines.sweep import choose_mask_baseline_scale

if __name__ == "__main__":
    cli.run(choose_mask_baseline_scale)
