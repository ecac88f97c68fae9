"""Score one class's sweep over guidance_scale by the tuning judge and choose a scale."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.sweep import sweep_rows
from fewshot_diffusion.config.attributes import TargetConfig, TuningConfig
from fewshot_diffusion.diffusion.samples import load_samples
from fewshot_diffusion.judges import load_judge
from fewshot_diffusion.storage.tables import write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(TuningConfig), required=True, help="section tuning, JSON")
    parser.add_argument("--target", type=cli.section(TargetConfig), required=True, help="the row, JSON")
    parser.add_argument("--data-set", required=True, help="name of the data set")
    parser.add_argument("--mode", choices=("exact", "readout"), required=True, help="how the samples were steered")
    parser.add_argument("--judge", type=Path, required=True, help="weights folder of the tuning judge")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="one shard per scale, in their order")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    scales = args.settings.guidance_scales
    samples = {scale: load_samples([path]) for scale, path in zip(scales, args.samples, strict=True)}
    judge = load_judge(args.judge, "tuning_judge")
    write_csv(args.output, sweep_rows(args.data_set, args.target, args.mode, samples, judge, args.settings))


if __name__ == "__main__":
    cli.run(main)
