"""Draw samples of a generative baseline that follow wanted masks; finished work units are kept."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.baselines.sampling import sample_mask_baseline

if __name__ == "__main__":
    cli.run(sample_mask_baseline)
