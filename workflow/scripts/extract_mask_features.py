"""Cache the denoiser's activations of the few image-mask pairs."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.features import extract_mask_features

if __name__ == "__main__":
    cli.run(extract_mask_features)
