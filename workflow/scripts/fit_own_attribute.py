"""Fit the head of one attribute, at the module that predicts its shots best, and its learning curve."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.fitting import fit_own_attribute

if __name__ == "__main__":
    cli.run(fit_own_attribute)
