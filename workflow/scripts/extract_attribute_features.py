"""Cache what the head of one attribute reads: pooled denoiser activations of its shots."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.features import extract_attribute_features

if __name__ == "__main__":
    cli.run(extract_attribute_features)
