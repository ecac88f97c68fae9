"""Train the independent judge of classes on a split of its own."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.classes.classifier import train_class_classifier
from fewshot_diffusion.config.classifiers import SupervisedConfig
from fewshot_diffusion.data.class_set import load_classes
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import sha256
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(SupervisedConfig), required=True, help="recipe, JSON")
    parser.add_argument("--images", type=Path, required=True, help="labelled images, safetensors")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    real = load_classes(args.images)
    size = real.images.shape[-1]
    judge = train_class_classifier("resnet18", real.classes, size, real.images, real.labels, args.settings, runtime)
    about = {"role": "judge", "images_sha256": sha256(args.images), "code": args.code}
    save_module(judge.half(), judge.config, args.output, about)  # half the size; it computes in float32 all the same


if __name__ == "__main__":
    cli.run(main)
