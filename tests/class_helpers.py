"""What tests of the classes share."""

from collections.abc import Sequence

import torch

from fewshot_diffusion.data.class_set import ClassSet


def shades(classes: Sequence[str], per_class: int, seed: int = 0) -> ClassSet:
    """Return noise of 16 x 16 pixels, class by class, the later the lighter: classes that are easy to tell."""
    labels, step = torch.arange(len(classes)).repeat_interleave(per_class), 195 // (len(classes) - 1)
    noise = torch.randint(60, (len(labels), 3, 16, 16), generator=torch.Generator().manual_seed(seed))
    images = (noise + step * labels[:, None, None, None]).to(torch.uint8)
    return ClassSet(images, labels, torch.arange(len(labels)), list(classes))
