"""Draw or read one split with the class of each image; or, of that, the first few of every class."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.data.class_set import save_classes
from fewshot_diffusion.data.sources import make_classes


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(DatasetConfig), required=True, help="data without splits, JSON")
    parser.add_argument("--positions", type=cli.half_open, required=True, help="START:STOP within the data set")
    parser.add_argument("--per-class", type=int, default=0, help="images of each class; 0 keeps all of them")
    parser.add_argument("--output", type=Path, required=True, help="labelled images to write, safetensors")
    args = parser.parse_args()
    class_set = make_classes(args.settings, args.positions)
    if args.per_class:
        class_set = class_set.first_of_each(args.per_class)
    about = {"data_set": args.settings.name, "positions": str(args.positions), "code": args.code}
    save_classes(class_set, args.output, about)


if __name__ == "__main__":
    cli.run(main)
