"""Write the wanted masks: those of the pairs that neither the head nor the segmenter learns from."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.pairs import select_own_masks

if __name__ == "__main__":
    cli.run(select_own_masks)
