"""Draw wanted masks over samples that follow them."""

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.strip import draw_strip

if __name__ == "__main__":
    cli.run(draw_strip)
