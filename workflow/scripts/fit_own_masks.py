"""Fit the head of masks, at the modules that find other pairs' masks best, and its learning curve."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.fitting import fit_own_masks

if __name__ == "__main__":
    cli.run(fit_own_masks)
