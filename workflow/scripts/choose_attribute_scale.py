"""Score one class's sweep over guidance_scale by the tuning judge and choose a scale."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.sweep import choose_attribute_scale

if __name__ == "__main__":
    cli.run(choose_attribute_scale)
