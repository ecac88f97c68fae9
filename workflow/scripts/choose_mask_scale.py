"""Choose one method's guidance_scale by the tuning segmenter; the guide's own opinion stands beside it."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.sweep import choose_mask_scale

if __name__ == "__main__":
    cli.run(choose_mask_scale)
