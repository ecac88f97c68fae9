"""Draw samples that follow wanted masks; finished work units are kept."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.sampling import sample_masks

if __name__ == "__main__":
    cli.run(sample_masks)
