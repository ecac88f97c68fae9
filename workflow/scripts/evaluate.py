"""Compare all methods with one class: distances and the judge's shares."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.evaluation import accuracy_rows, distance_rows, gather_candidates, gather_real
from fewshot_diffusion.config.attributes import TargetConfig
from fewshot_diffusion.config.evaluation import EvaluationConfig
from fewshot_diffusion.storage.tables import write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--settings", type=cli.section(EvaluationConfig), required=True, help="section evaluation, JSON"
    )
    parser.add_argument("--target", type=cli.section(TargetConfig), required=True, help="the row, JSON")
    parser.add_argument("--data-set", required=True, help="name of the data set")
    for name in ("reference", "controls", "unguided", "exact", "readout"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"description of {name} images")
    for name in ("unguided", "exact", "readout"):
        parser.add_argument(f"--{name}-timing", type=Path, nargs="+", required=True, help="timing of each shard")
    parser.add_argument("--reference-records", type=Path, required=True, help="attributes of the reference, parquet")
    parser.add_argument("--controls-records", type=Path, required=True, help="attributes of the controls, parquet")
    parser.add_argument("--rejection", type=Path, required=True, help="which unguided samples DDIM-I keeps, parquet")
    parser.add_argument("--distances", type=Path, required=True, help="CSV to write")
    parser.add_argument("--accuracy", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    timings = {name: getattr(args, f"{name}_timing") for name in ("unguided", "exact", "readout")}
    paths = {name: getattr(args, name) for name in ("controls", "unguided", "exact", "readout")}
    candidates = gather_candidates(paths, timings, args.rejection)
    real = gather_real((args.reference, args.reference_records), (args.controls, args.controls_records), args.target)
    write_csv(args.distances, distance_rows(args.data_set, args.target, candidates, real, args.settings))
    write_csv(args.accuracy, accuracy_rows(args.data_set, args.target, candidates, real, args.settings))


if __name__ == "__main__":
    cli.run(main)
