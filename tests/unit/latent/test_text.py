"""Captions say what was drawn; the tokenizer knows their words, and CLIP's own class reads it."""

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from fewshot_diffusion.config.latent import CaptionsConfig
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.latent.captions import caption_of, caption_words, make_captions, read_captions
from fewshot_diffusion.latent.text import tokens_of
from fewshot_diffusion.latent.tokenizer import learn_merges, write_tokenizer
from support import smoke_config

PHRASES = {
    "hairColor": {"d6b370": "blond hair", "724133": "brown hair"},
    "beardVariant": {"fullBeard": "full beard", "none": "no beard"},
}


def captions(kept: float = 1.0) -> CaptionsConfig:
    return CaptionsConfig(opening="a face", phrases=PHRASES, kept=kept)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hairColor": ["#d6b370"], "beardVariant": "fullBeard"}, "a face, blond hair, full beard"),
        ({"hairColor": ["#724133"]}, "a face, brown hair, no beard"),
        ({"hairColor": ["#000000"], "beardVariant": "longBeard"}, "a face, no beard"),
    ],
)
def test_a_caption_says_what_was_drawn(options: dict[str, object], said: str) -> None:
    assert caption_of(options, captions(), 0) == said
    assert caption_of(options, captions(kept=0), 0) == "a face"


def test_captions_of_images_are_functions_of_their_ids(tmp_path: Path) -> None:
    dataset = smoke_config().data.dataset([])
    for name, start in (("long", 0), ("short", 10)):
        make_captions(dataset, captions(0.5), (start, 20), tmp_path / f"{name}.csv")
    long, short = (read_captions(tmp_path / f"{name}.csv", list(range(10, 20))) for name in ("long", "short"))
    assert long == short
    assert len(set(long)) > 2
    with pytest.raises(DataError, match=r"images \[20\] have no caption"):
        read_captions(tmp_path / "long.csv", [3, 20])


def test_words_of_captions_are_tokens_and_others_fall_apart(tmp_path: Path) -> None:
    write_tokenizer(caption_words(captions()), 10, tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    known, cut = tokens_of(tokenizer, ["A face,  blond hair", "a fair brand of beards"])
    assert tokenizer.convert_ids_to_tokens(known.tolist()[:7]) == [
        "<|startoftext|>", "a</w>", "face</w>", ",</w>", "blond</w>", "hair</w>", "<|endoftext|>",
    ]  # fmt: skip
    assert known.tolist()[7:] == [tokenizer.eos_token_id] * 3
    assert len(cut) == 10  # the longest prompt
    assert tokenizer.decode(tokenizer("a fair brand of beards").input_ids, skip_special_tokens=True) == (
        "a fair brand of beards"
    )


def test_the_commonest_pair_is_merged_first() -> None:
    assert learn_merges(["aab aac"])[0] == ("a", "a")
