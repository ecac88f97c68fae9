"""Convert a public checkpoint into the denoiser of a run."""

from fewshot_diffusion import cli
from fewshot_diffusion.checkpoints.denoiser import convert_denoiser

if __name__ == "__main__":
    cli.run(convert_denoiser)
