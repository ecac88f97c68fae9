"""Verify a weights folder, check that it was trained on the configured data, and copy it into the results."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.data.class_set import load_classes
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.data.shots import read_pairs
from fewshot_diffusion.storage.tensors import pixel_digest
from fewshot_diffusion.storage.weights import install_weights


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="weights folder to read")
    parser.add_argument("--images", type=Path, help="images of the pool that its pairs come from, safetensors")
    parser.add_argument("--masks", type=Path, help="their masks, safetensors")
    parser.add_argument("--pairs", type=Path, help="CSV: id of each pair that it must have seen")
    parser.add_argument("--labelled", type=Path, help="labelled images that it must have seen, safetensors")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    expected: dict[str, object] = {}
    if args.pairs:
        images, masks = read_pairs(args.pairs, load_image_set(args.images), load_masks(args.masks))
        digests = [pixel_digest(images.images), pixel_digest(masks.masks)]
        expected = {"classes": masks.classes, "pairs_sha256": digests}
    if args.labelled:
        real = load_classes(args.labelled)
        expected = {"classes": real.classes, "images_sha256": pixel_digest(real.images, real.labels)}
    install_weights(args.folder, args.output, expected)


if __name__ == "__main__":
    cli.run(main)
