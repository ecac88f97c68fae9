"""Verify a stored shard of class-conditional samples, check that it fits the configuration, and copy it."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.classes.conditional import load_conditional
from fewshot_diffusion.config.classification import ClassSamplingConfig
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.tooling.stored_sets import install_generated


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--source", type=Path, required=True, help="shard in the store, safetensors")
    parser.add_argument("--settings", type=cli.section(ClassSamplingConfig), required=True, help="sampling, JSON")
    parser.add_argument("--threshold", type=float, required=True, help="of the filter")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder of the unconditional denoiser")
    parser.add_argument("--conditional", type=Path, required=True, help="weights folder of the conditional one")
    parser.add_argument("--output", type=Path, required=True, help="shard to write")
    args = parser.parse_args()
    conditional = load_conditional(args.conditional, load_denoiser(args.denoiser, CPU))
    install_generated(args.source, args.output, conditional, args.settings, args.threshold)


if __name__ == "__main__":
    cli.run(main)
