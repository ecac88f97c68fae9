"""Draw and filter images of a share of the classes; finished work units are kept: more images extend fewer."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.generation import sample_classes

if __name__ == "__main__":
    cli.run(sample_classes)
