"""Train a judge of every attribute of a labelled split; the one that tunes never reports."""

from fewshot_diffusion import cli
from fewshot_diffusion.judges import train_judge

if __name__ == "__main__":
    cli.run(train_judge)
