"""Draw one shard of samples by DDIM, unguided or guided by a few-shot head; finished work units are kept."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.guidance import attribute_guidance
from fewshot_diffusion.attributes.heads import load_head
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.diffusion.guidance import guided, unguided
from fewshot_diffusion.diffusion.samples import save_samples
from fewshot_diffusion.diffusion.sampling import draw_units, plan_units, share_units
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import fingerprint, sha256, write_sealed_json


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(SamplingConfig), required=True, help="section sampling, JSON")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder")
    parser.add_argument("--mode", choices=("unguided", "exact", "readout"), required=True, help="how to steer")
    parser.add_argument("--head", type=Path, help="weights folder of the few-shot head")
    parser.add_argument("--value", type=cli.boolean, help="wanted value of the attribute: true or false")
    parser.add_argument("--guidance-scale", type=float, default=0.0, help="lambda on the summed log-likelihood")
    parser.add_argument("--first-seed", type=int, required=True, help="seed of the first sample of unit 0")
    parser.add_argument("--units", type=int, required=True, help="work units of the whole sample set")
    parser.add_argument("--shard", type=cli.shard, default=(0, 1), help="this job's share, e.g. 2-of-4")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of finished work units")
    parser.add_argument("--output", type=Path, required=True, help="shard to write, safetensors")
    parser.add_argument("--timing", type=Path, required=True, help="seconds and samples to write, JSON")
    args = parser.parse_args()
    settings: SamplingConfig = args.settings
    runtime = make_runtime(args.device, settings.precision, settings.cpu_threads)
    denoiser = load_denoiser(args.denoiser, runtime)
    predict, head_digest = unguided(denoiser, runtime), None
    if args.mode != "unguided":
        head_digest = sha256(args.head / "provenance.json")
        head = load_head(args.head, denoiser.digest).to(runtime.device)
        guidance = attribute_guidance(args.mode, denoiser, head, args.value, runtime)
        predict = guided(
            guidance,
            args.guidance_scale,
            denoiser.schedule.prediction_type,
            plain=predict,
            interval=settings.guidance_interval,
        )
    about = {
        "denoiser": denoiser.digest,
        "mode": args.mode,
        "head": head_digest,
        "value": args.value,
        "guidance_scale": args.guidance_scale,
        "settings": settings.identity(),
        "precision": str(runtime.dtype),
        "code": args.code,
    }
    identity = fingerprint(about)
    units = share_units(plan_units(args.first_seed, args.units, settings.unit_size), *args.shard)
    checkpoints = args.checkpoints / identity
    samples, seconds = draw_units(units, lambda _: predict, denoiser, settings, runtime, checkpoints, identity)
    save_samples(samples, args.output, about)
    write_sealed_json(args.timing, {"seconds": seconds, "samples": len(samples.seeds)})


if __name__ == "__main__":
    cli.run(main)
