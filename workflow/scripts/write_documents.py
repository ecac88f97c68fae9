"""Write config/schema.json and config/README.md from the configuration model."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.documentation import write_documents


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("config"), help="where they go")
    write_documents(parser.parse_args().folder)


if __name__ == "__main__":
    cli.run(main)
