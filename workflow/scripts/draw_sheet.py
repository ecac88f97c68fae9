"""Write a contact sheet: the first samples of each sample set, a block of rows per set."""

from pathlib import Path

import torch

from fewshot_diffusion import cli
from fewshot_diffusion.images import save_sheet
from fewshot_diffusion.metrics.descriptions import load_description


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--descriptions", type=Path, nargs="+", required=True, help="description of each sample set")
    parser.add_argument("--rows", type=int, required=True, help="rows per sample set")
    parser.add_argument("--columns", type=int, default=16, help="images per row")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    args = parser.parse_args()
    shown = [load_description(path).gallery[: args.rows * args.columns] for path in args.descriptions]
    save_sheet(torch.cat(shown), args.columns, args.output)


if __name__ == "__main__":
    cli.run(main)
