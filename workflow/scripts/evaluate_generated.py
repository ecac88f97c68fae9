"""Measure the filter: acceptance per class beside an independent judge, and its calibration on real images."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.classes.filter import load_rejection_head
from fewshot_diffusion.classes.filter_report import acceptance_rows, calibration_rows
from fewshot_diffusion.classes.generation import load_generated
from fewshot_diffusion.data.class_set import load_classes
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.tables import write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--data-set", required=True, help="its name")
    parser.add_argument("--threshold", type=float, required=True, help="of the filter")
    parser.add_argument("--generated", type=Path, nargs="+", required=True, help="shards of generated images")
    parser.add_argument("--test", type=Path, required=True, help="held-out real labelled images, safetensors")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder of the unconditional denoiser")
    parser.add_argument("--head", type=Path, required=True, help="weights folder of the rejection head")
    parser.add_argument("--judge", type=Path, required=True, help="weights folder of the independent judge")
    parser.add_argument("--acceptance", type=Path, required=True, help="CSV to write")
    parser.add_argument("--calibration", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, "auto", cpu_threads=1)
    denoiser, test = load_denoiser(args.denoiser, runtime), load_classes(args.test)
    head = load_rejection_head(args.head, denoiser.digest).to(runtime.device)
    generated = load_generated(args.generated)
    write_csv(args.acceptance, acceptance_rows(args.data_set, generated, test, args.judge, args.threshold, runtime))
    write_csv(args.calibration, calibration_rows(args.data_set, denoiser, head, test, runtime))


if __name__ == "__main__":
    cli.run(main)
