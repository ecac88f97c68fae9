"""Train a ControlNet on the few image-mask pairs; the same command starts, resumes and repeats."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.controlnet import train_controlnet

if __name__ == "__main__":
    cli.run(train_controlnet)
