"""Cache the activations that the filter reads, of labelled images and of their mirror images."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.filter import extract_class_features

if __name__ == "__main__":
    cli.run(extract_class_features)
