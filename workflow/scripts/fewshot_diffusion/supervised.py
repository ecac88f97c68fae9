"""Training of every supervised network on images: one recipe."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .config.supervised import SupervisedConfig
from .progress import Progress
from .residence import settle, take
from .runtime import Runtime
from .seeds import generator
from .storage.rows import Rows


def augment(images: Tensor, stream: torch.Generator, max_shift: int = 4) -> Tensor:
    """Mirror half of the images and shift each batch by up to ``max_shift`` pixels, edges replicated."""
    mirrored = torch.rand(len(images), generator=stream, device=stream.device) < 0.5
    return shift([torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)], stream, max_shift)[0]


Augment = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(images uint8 [B, 3, H, W], targets [B, ...], stream) -> both, augmented alike."""


def fit(
    model: nn.Module,
    examples: tuple[Rows, Rows],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    augment: Augment,
    settings: SupervisedConfig,
    runtime: Runtime,
) -> None:
    """Train ``model`` in place by AdamW with a one-cycle learning rate; it ends frozen, in eval mode.

    Order, augmentation and images are the device's own: no step waits for it.

    Args:
        model: Maps uint8 images [B, 3, H, W], 0..255, to outputs.
        examples: Images, uint8 [N, 3, H, W], 0..255, and targets, [N, ...]: what ``loss_of`` compares outputs with; in
            memory or in files.
        loss_of: (float32 outputs, targets) -> scalar.
        augment: Applied to every batch, on the device; its stream is that of (seed, epoch), and draws there.
        settings: Recipe.
        runtime: Device and precision.
    """
    images, targets = (settle(part, runtime.device) for part in examples)
    runtime.place(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batches = updates_per_epoch(len(images), settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * batches
    )
    for epoch in Progress(range(settings.epochs), desc=f"training {type(model).__name__}", unit="epoch"):
        stream = generator(f"classifier {settings.seed}", epoch, runtime.device)
        order = torch.randperm(len(images), generator=stream, device=runtime.device)
        for index in order.tensor_split(batches):
            batch, wanted = augment(take(images, index), take(targets, index), stream)
            with runtime.autocast():
                outputs = model(batch)
            loss = loss_of(outputs.float(), wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    model.requires_grad_(False).eval()


def updates_per_epoch(number: int, batch_size: int) -> int:
    """Return how many batches an epoch over ``number`` images has; they are of equal size, give or take one image."""
    return max(1, number // batch_size)


def shift(batches: Sequence[Tensor], stream: torch.Generator, max_shift: int) -> list[Tensor]:
    """Shift batches [B, ..., H, W] alike by up to ``max_shift`` pixels, edges replicated."""
    offsets = torch.randint(2 * max_shift + 1, (2,), generator=stream, device=stream.device) - max_shift
    shifted = []
    for batch in batches:
        rows, columns = (
            (torch.arange(size, device=stream.device) + offset).clamp(0, size - 1)
            for size, offset in zip(batch.shape[-2:], offsets, strict=True)
        )
        shifted.append(batch[..., rows[:, None], columns])
    return shifted
