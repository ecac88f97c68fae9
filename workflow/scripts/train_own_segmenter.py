"""Train the judge of masks on pairs that the head has not learned from."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.masks_table import train_own_segmenter

if __name__ == "__main__":
    cli.run(train_own_segmenter)
