"""Captions of cartoons: words for the options that the generator picked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from dicebear import Avatar

from ..config.data import AvatarsConfig, DatasetConfig
from ..config.latent import CaptionsConfig
from ..data.avatar_options import ABSENT
from ..data.avatars import attributes_of, avatar_options, load_style
from ..errors import DataError
from ..progress import Progress
from ..seeds import generator
from ..storage.tables import read_csv, write_csv


def caption_of(options: Mapping[str, Any], settings: CaptionsConfig, id_: int) -> str:
    """Return the caption of an avatar, a function of its options and its id, which decides what is left unsaid."""
    said = [settings.opening]
    kept = torch.rand(len(settings.phrases), generator=generator("captions", id_)) < settings.kept
    for (option, words), keep in zip(settings.phrases.items(), kept.tolist(), strict=True):
        phrase = _phrase(options, option, words)
        said += [phrase] if keep and phrase else []
    return ", ".join(said)


def _phrase(options: Mapping[str, Any], option: str, words: Mapping[str, str]) -> str | None:
    found = attributes_of(options, {value: {option: [value]} for value in words})
    return words.get(next((value for value, holds in found.items() if holds), ABSENT))


def caption_words(settings: CaptionsConfig) -> list[str]:
    """Return every phrase that captions are made of, for a tokenizer to know."""
    return [settings.opening, *(phrase for words in settings.phrases.values() for phrase in words.values())]


def make_captions(settings: DatasetConfig, captions: CaptionsConfig, positions: tuple[int, int], output: Path) -> None:
    """Write the captions of one split of drawn images.

    Args:
        settings: Section data without splits (CONFIG.data.dataset), JSON.
        captions: Section denoiser.latent.model.captions, JSON.
        positions: Start and stop within the data set.
        output: CSV to write: id, caption.

    Raises:
        DataError: If the images are not drawn: nobody knows what they show.
    """
    avatars = settings.source
    if not isinstance(avatars, AvatarsConfig):
        raise DataError(f"denoiser.latent.model: images of kind {avatars.kind!r} have no captions; expected avatars.")
    style, rows = load_style(avatars.style), []
    for id_ in Progress(range(*positions), desc="captions", unit="image"):
        options = Avatar(style, avatar_options(avatars, settings.image_size, id_)).to_json()["options"]
        rows.append({"id": id_, "caption": caption_of(options, captions, id_)})
    write_csv(output, pd.DataFrame(rows))


def read_captions(path: Path, ids: list[int]) -> list[str]:
    """Return the captions of images, in their order.

    Raises:
        CorruptFileError: If the file is damaged.
        DataError: If an image has none.
    """
    found = read_csv(path, "id", "caption").set_index("id")["caption"]
    if missing := [id_ for id_ in ids if id_ not in found.index]:
        raise DataError(
            f"{path}: images {missing[:5]} have no caption. Make images and captions of the same positions."
        )
    return [str(caption) for caption in found.loc[ids]]
