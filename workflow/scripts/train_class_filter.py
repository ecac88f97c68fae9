"""Train the filter's head on cached activations."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.filter import train_class_filter

if __name__ == "__main__":
    cli.run(train_class_filter)
