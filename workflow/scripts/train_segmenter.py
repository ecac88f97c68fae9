"""Train a segmenter of clean images: on a split of its own, or on the few pairs."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.segmenter import train_segmenter

if __name__ == "__main__":
    cli.run(train_segmenter)
