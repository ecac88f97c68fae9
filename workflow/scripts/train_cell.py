"""Train one cell of Table 2, once per seed, and test it; finished seeds are kept."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.classes.cells import CONTROLS, cell_epochs, run_cell
from fewshot_diffusion.classes.generation import load_generated
from fewshot_diffusion.config.classification import ArchitectureRecipe, ClassificationConfig
from fewshot_diffusion.data.class_set import load_classes
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import fingerprint, sha256
from fewshot_diffusion.storage.tables import write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(ClassificationConfig), required=True, help="its section, JSON")
    parser.add_argument("--recipe", type=cli.section(ArchitectureRecipe), required=True, help="architecture, JSON")
    parser.add_argument("--data-set", required=True, help="its name")
    parser.add_argument("--mixup-cutmix", type=cli.boolean, required=True, help="true or false")
    parser.add_argument("--ratio", type=int, required=True, help="generated images per real one")
    parser.add_argument("--control", choices=CONTROLS, required=True, help="what it differs in from the paper's cells")
    parser.add_argument("--real", type=Path, required=True, help="real labelled images, safetensors")
    parser.add_argument("--generated", type=Path, nargs="*", default=[], help="shards of generated images")
    parser.add_argument("--test", type=Path, required=True, help="real labelled images to test on, safetensors")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of finished seeds")
    parser.add_argument("--output", type=Path, required=True, help="CSV row to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    cell = {"mixup_cutmix": args.mixup_cutmix, "generated_ratio": args.ratio, "control": args.control}
    shared = args.settings.model_dump(
        mode="json", include={"image_size", "batch_size", "learning_rate", "weight_decay", "mixup_alpha"}
    )
    files = [sha256(path) for path in (args.real, *args.generated, args.test)]
    real = load_classes(args.real)
    epochs = cell_epochs(args.recipe, args.settings, CONTROLS[args.control], len(real))
    identity = fingerprint(cell, shared, args.recipe.name, epochs, files, str(runtime.dtype), args.code)
    row = run_cell(
        {"data_set": args.data_set, "architecture": args.recipe.name, **cell},
        real=real,
        generated=load_generated(args.generated) if args.generated else None,
        test=load_classes(args.test),
        recipe=args.recipe,
        settings=args.settings,
        checkpoints=args.checkpoints / identity,
        runtime=runtime,
    )
    write_csv(args.output, row)


if __name__ == "__main__":
    cli.run(main)
