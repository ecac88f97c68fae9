"""Train the mask head on the cached activations of the few pairs."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.heads import train_mask_head

if __name__ == "__main__":
    cli.run(train_mask_head)
