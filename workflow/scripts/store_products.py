"""Name the products of a finished run in dvc.yaml, and keep Snakemake's records of them for every clone."""

import sys
from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.records import METADATA, STORED, write_stored
from fewshot_diffusion.tooling.storing import chosen_products, is_committed, read_summary, stage_text


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--summary", type=Path, required=True, help="output of `snakemake --summary`")
    parser.add_argument("--command", required=True, help="what makes the products; for readers of dvc.yaml")
    parser.add_argument("--stage-file", type=Path, default=Path("dvc.yaml"), help="file to write")
    parser.add_argument("--stored", type=Path, default=STORED, help="file of records to write")
    args = parser.parse_args()
    products, left_out = chosen_products(read_summary(args.summary.read_text()))
    write_stored(products, left_out, args.stored, METADATA)
    args.stage_file.write_text(stage_text(products, args.command))
    large = [Path(path) for path in products if not is_committed(path)]
    size = sum(path.stat().st_size for path in large) / 1e6
    records = len(products) + len(left_out)
    print(f"{len(large)} files for DVC, {size:.1f} MB; {records} records in {args.stored}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
