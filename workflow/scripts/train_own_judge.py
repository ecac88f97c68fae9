"""Train the judge of an attribute on labelled images that its head has not learned from."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.table import train_own_judge

if __name__ == "__main__":
    cli.run(train_own_judge)
