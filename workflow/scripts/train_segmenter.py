"""Train a segmenter of clean images: on a split of its own, or on the few pairs."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.segmentation import SegmenterConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.data.shots import join_pairs, read_pairs
from fewshot_diffusion.masks.segmenter import train_segmenter
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import sha256
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(SegmenterConfig), required=True, help="its section, JSON")
    parser.add_argument("--role", choices=("judge", "tuning_judge", "guides"), required=True, help="what it may do")
    parser.add_argument("--flip-pairs", type=cli.integer_pairs, default=[], help="class ids a mirror swaps, JSON")
    parser.add_argument("--images", type=Path, required=True, help="images, safetensors")
    parser.add_argument("--masks", type=Path, required=True, help="their masks, safetensors")
    parser.add_argument("--pairs", type=Path, help="CSV: id; without it, every image of the file")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    images, masks = load_image_set(args.images), load_masks(args.masks)
    images, masks = read_pairs(args.pairs, images, masks) if args.pairs else join_pairs(images, masks)
    model = train_segmenter(images.images, masks.masks, masks.classes, args.flip_pairs, args.settings, runtime)
    about = {"role": args.role, "images_sha256": sha256(args.images), "masks_sha256": sha256(args.masks)}
    save_module(model, model.config, args.output, {**about, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
