"""A small tokenizer of CLIP's kind: byte pairs merged until each word that captions have is one token."""

import json
import string
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from ..storage.files import write_json, write_text

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_LETTERS = string.ascii_lowercase + string.digits + ",.-'"


def learn_merges(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return byte-pair merges in their order: the commonest pair first, of equals the first in the alphabet.

    Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", algorithm 1.
    """
    words = {(*word[:-1], word[-1] + _WORD_END) for text in texts for word in _words(text)}
    merges: list[tuple[str, str]] = []
    while counts := Counter(pair for word in words for pair in pairwise(word)):
        merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        words = {_merged(word, merges[-1]) for word in words}
    return merges


def write_tokenizer(texts: Iterable[str], max_tokens: int, folder: Path) -> None:
    """Write the files that transformers' ``CLIPTokenizer`` reads.

    Args:
        texts: What it must know; other words fall into parts and letters.
        max_tokens: Length of a prompt, with both its ends.
        folder: Where ``vocab.json``, ``merges.txt`` and the settings go.
    """
    merges = learn_merges(texts)
    letters = [*_LETTERS, *(letter + _WORD_END for letter in _LETTERS)]
    tokens = list(dict.fromkeys([*letters, *(left + right for left, right in merges), BEGIN, END]))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    special = {"bos_token": BEGIN, "eos_token": END, "pad_token": END, "unk_token": END}
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False) + "\n")
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n")
    write_json(folder / "special_tokens_map.json", special)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": max_tokens, "do_lower_case": True}
    write_json(folder / "tokenizer_config.json", special | settings)


def _words(text: str) -> list[str]:
    """Return words and marks, as CLIP splits them."""
    spaced = "".join(letter if letter.isalpha() else f" {letter} " for letter in text.lower())
    return spaced.split()


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    found: list[str] = []
    rest = list(word)
    while rest:
        joins = len(rest) > 1 and (rest[0], rest[1]) == pair
        found.append("".join(rest[: 1 + joins]))
        rest = rest[1 + joins :]
    return tuple(found)
