"""Fine-tune the unconditional denoiser as class-conditional; the same command starts, resumes and repeats."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.conditional import train_generator

if __name__ == "__main__":
    cli.run(train_generator)
