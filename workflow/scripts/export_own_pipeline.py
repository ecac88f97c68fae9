"""Write the steered pipeline, for diffusers and for everybody."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.model import export_own_pipeline

if __name__ == "__main__":
    cli.run(export_own_pipeline)
