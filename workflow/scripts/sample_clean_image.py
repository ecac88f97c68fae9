"""Draw one shard of samples by DDIM, steered by DDIM-I's image-space classifier; finished work units are kept."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.clean_image import sample_clean_image

if __name__ == "__main__":
    cli.run(sample_clean_image)
