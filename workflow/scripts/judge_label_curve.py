"""Write the judge's share of every number of labels and draw, of one row and method."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.labels import judge_label_curve

if __name__ == "__main__":
    cli.run(judge_label_curve)
