"""Measure the filter: acceptance per class beside an independent judge, and its calibration on real images."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.filter_report import evaluate_filter

if __name__ == "__main__":
    cli.run(evaluate_filter)
