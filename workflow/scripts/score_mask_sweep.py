"""Score one method's sweep over guidance_scale: by the tuning segmenter, and by the guide itself."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.segmentation import SegmentationConfig
from fewshot_diffusion.diffusion.samples import load_samples
from fewshot_diffusion.masks.sweep import mask_sweep_rows
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.tables import write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(SegmentationConfig), required=True, help="section segmentation")
    parser.add_argument("--data-set", required=True, help="its name")
    parser.add_argument("--method", choices=("exact", "readout", "clean_image"), required=True, help="how it steers")
    parser.add_argument("--preset", required=True, help="name of the preset")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder")
    parser.add_argument("--guide", type=Path, required=True, help="weights folder of the head or segmenter")
    parser.add_argument("--masks", type=Path, required=True, help="wanted masks, safetensors")
    parser.add_argument("--segmenter", type=Path, required=True, help="weights folder, role tuning_judge")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="one file per scale, named after it")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, "float32", cpu_threads=1)
    write_csv(
        args.output,
        mask_sweep_rows(
            {"data_set": args.data_set, "method": args.method, "preset": args.preset},
            samples={float(path.stem): load_samples([path]) for path in args.samples},
            masks=args.masks,
            denoiser=args.denoiser,
            guide=args.guide,
            segmenter=args.segmenter,
            settings=args.settings,
            runtime=runtime,
        ),
    )


if __name__ == "__main__":
    cli.run(main)
