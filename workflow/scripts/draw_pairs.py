"""Draw the few image-mask pairs from their pool; fewer pairs are a prefix of more."""

from pathlib import Path

import pandas as pd

from fewshot_diffusion import cli
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.data.shots import draw_pairs
from fewshot_diffusion.storage.tables import write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--masks", type=Path, required=True, help="masks of the pool, safetensors")
    parser.add_argument("--shots", type=int, required=True, help="number of pairs")
    parser.add_argument("--seed", type=int, required=True, help="which pairs")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write: id")
    args = parser.parse_args()
    write_csv(args.output, pd.DataFrame({"id": draw_pairs(load_masks(args.masks), args.shots, args.seed)}))


if __name__ == "__main__":
    cli.run(main)
