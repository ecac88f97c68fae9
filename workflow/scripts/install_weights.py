"""Verify a weights folder and copy it into the results."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.io import install_weights


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="weights folder to read")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    install_weights(args.folder, args.output)


if __name__ == "__main__":
    cli.run(main)
