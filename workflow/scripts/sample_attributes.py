"""Draw one shard of samples by DDIM, unguided or guided by a few-shot head; finished work units are kept."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.sampling import sample_attributes

if __name__ == "__main__":
    cli.run(sample_attributes)
