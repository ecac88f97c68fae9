"""Train a generative baseline, stage by stage; the same command starts, resumes and repeats."""

from fewshot_diffusion import cli
from fewshot_diffusion.baselines.training import train_baseline

if __name__ == "__main__":
    cli.run(train_baseline)
