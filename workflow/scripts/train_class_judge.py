"""Train the independent judge of classes on a split of its own."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.classifier import train_class_judge

if __name__ == "__main__":
    cli.run(train_class_judge)
