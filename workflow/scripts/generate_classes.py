"""Generate and filter images of a share of the classes; finished work units are kept: more images extend fewer."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.classes.conditional import load_conditional
from fewshot_diffusion.classes.filter import load_rejection_head
from fewshot_diffusion.classes.generation import generate_classes, save_generated
from fewshot_diffusion.config.classification import ClassSamplingConfig, RejectionConfig
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import fingerprint, sha256


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(ClassSamplingConfig), required=True, help="its section, JSON")
    parser.add_argument("--rejection", type=cli.section(RejectionConfig), required=True, help="its section, JSON")
    parser.add_argument("--wanted", type=int, required=True, help="accepted images of each class")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder of the unconditional denoiser")
    parser.add_argument("--conditional", type=Path, required=True, help="weights folder of the conditional one")
    parser.add_argument("--head", type=Path, required=True, help="weights folder of the rejection head")
    parser.add_argument("--shard", type=cli.shard, default=(0, 1), help="this job's share of the classes, e.g. 2-of-4")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of finished work units")
    parser.add_argument("--output", type=Path, required=True, help="samples to write, safetensors")
    args = parser.parse_args()
    settings: ClassSamplingConfig = args.settings
    runtime = make_runtime(args.device, settings.precision, settings.cpu_threads)
    denoiser = load_denoiser(args.denoiser, runtime)
    conditional = load_conditional(args.conditional, denoiser)
    head = load_rejection_head(args.head, denoiser.digest).to(runtime.device)
    about = {
        "denoiser": conditional.digest,
        "settings": settings.model_dump(exclude={"shards"}),
        "precision": str(runtime.dtype),
    }
    identity = fingerprint({**about, "code": args.code})
    generated = generate_classes(
        denoiser,
        conditional,
        head,
        settings,
        args.rejection,
        args.wanted,
        args.shard,
        args.checkpoints / identity,
        identity,
        runtime,
    )
    filtered = {"head": sha256(args.head / "provenance.json"), "threshold": args.rejection.threshold}
    save_generated(generated, args.output, {**about, **filtered, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
