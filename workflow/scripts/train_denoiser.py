"""Train the unconditional denoiser; the same command starts, resumes and repeats."""

from fewshot_diffusion import cli
from fewshot_diffusion.diffusion.denoiser_training import train_denoiser

if __name__ == "__main__":
    cli.run(train_denoiser)
