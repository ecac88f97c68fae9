"""Draw samples that follow wanted masks; sample i shows mask i modulo their number. Finished work units are kept."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.diffusion.samples import save_samples
from fewshot_diffusion.diffusion.sampling import draw_units, plan_units
from fewshot_diffusion.masks.guidance import mask_predictors
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import fingerprint, sha256, write_sealed_json


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(SamplingConfig), required=True, help="section sampling, JSON")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder")
    methods = ("unguided", "exact", "readout", "clean_image", "controlnet")
    parser.add_argument("--method", choices=methods, required=True, help="how to steer")
    parser.add_argument("--guide", type=Path, help="weights folder of the head, segmenter or ControlNet")
    parser.add_argument("--guidance-scale", type=float, default=0.0, help="lambda on the mean pixel log-likelihood")
    parser.add_argument("--masks", type=Path, required=True, help="wanted masks: the first unit_size of the file")
    parser.add_argument("--first-seed", type=int, required=True, help="seed of the first sample")
    parser.add_argument("--seeds-per-mask", type=int, required=True, help="samples of each mask")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of finished work units")
    parser.add_argument("--output", type=Path, required=True, help="samples to write, safetensors")
    parser.add_argument("--timing", type=Path, required=True, help="seconds and samples to write, JSON")
    args = parser.parse_args()
    if (args.guide is None) != (args.method == "unguided"):
        parser.error("--guide goes with every method but unguided")
    settings: SamplingConfig = args.settings
    runtime = make_runtime(args.device, settings.precision, settings.cpu_threads)
    denoiser = load_denoiser(args.denoiser, runtime)
    wanted = load_masks(args.masks).first(settings.unit_size)
    predictor_of = mask_predictors(
        args.method, denoiser, args.guide, wanted, args.guidance_scale, settings.guidance_interval, runtime
    )
    about = {
        "denoiser": denoiser.digest,
        "method": args.method,
        "guide": sha256(args.guide / "provenance.json") if args.guide else None,
        "masks": sha256(args.masks),
        "guidance_scale": args.guidance_scale,
        "settings": settings.identity(),
        "precision": str(runtime.dtype),
        "code": args.code,
    }
    identity = fingerprint(about)
    units = plan_units(args.first_seed, args.seeds_per_mask, settings.unit_size)
    checkpoints = args.checkpoints / identity
    samples, seconds = draw_units(units, predictor_of, denoiser, settings, runtime, checkpoints, identity)
    save_samples(samples, args.output, about)
    write_sealed_json(args.timing, {"seconds": seconds, "samples": len(samples.seeds)})


if __name__ == "__main__":
    cli.run(main)
