"""Pack tables and figures, and the workflow that made them, into one RO-Crate to deposit."""

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.crate import make_crate

if __name__ == "__main__":
    cli.run(make_crate)
