"""Draw the few image-mask pairs from their pool; fewer pairs are a prefix of more."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.pairs import draw_pairs

if __name__ == "__main__":
    cli.run(draw_pairs)
