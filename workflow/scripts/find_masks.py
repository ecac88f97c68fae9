"""Write the masks that the judge finds in samples."""

from fewshot_diffusion import cli
from fewshot_diffusion.explorer.found import find_masks

if __name__ == "__main__":
    cli.run(find_masks)
