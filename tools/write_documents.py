"""Write config/schema.json and config/README.md from the configuration model."""

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.documentation import write_documents

if __name__ == "__main__":
    cli.run(write_documents)
