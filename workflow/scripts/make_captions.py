"""Write the captions of one split of drawn images."""

from fewshot_diffusion import cli
from fewshot_diffusion.latent.captions import make_captions

if __name__ == "__main__":
    cli.run(make_captions)
