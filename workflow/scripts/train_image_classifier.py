"""Train DDIM-I's image-space classifier on the same shots as the heads."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.classifiers import ImageClassifierConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.shots import read_shots
from fewshot_diffusion.judges import train_classifier
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import sha256
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--settings", type=cli.section(ImageClassifierConfig), required=True, help="section image_classifier, JSON"
    )
    parser.add_argument("--attribute", required=True, help="name of the attribute")
    parser.add_argument("--shots", type=Path, required=True, help="CSV: id, label")
    parser.add_argument("--pool", type=Path, required=True, help="images of the split shots, safetensors")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    images, labels = read_shots(args.shots, load_image_set(args.pool))
    model = train_classifier(images.images, labels[:, None], [args.attribute], args.settings, runtime)
    save_module(
        model, model.config, args.output, {"role": "guides", "shots_sha256": sha256(args.shots), "code": args.code}
    )


if __name__ == "__main__":
    cli.run(main)
