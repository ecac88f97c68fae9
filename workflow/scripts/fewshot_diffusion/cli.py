"""What the command-line scripts share: typed options, logging, errors without a traceback."""

import argparse
import json
import logging
import sys
from collections.abc import Callable
from typing import TypeVar

import pydantic

from .config.base import Section
from .errors import FewshotError

AnySection = TypeVar("AnySection", bound=Section)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every script has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    made.add_argument("--code", default="", help="digest of the code that runs; recorded in the output")
    return made


def section(model: type[AnySection]) -> Callable[[str], AnySection]:
    """Return an option type that parses one config section from JSON."""

    def parse(text: str) -> AnySection:
        try:
            return model.model_validate_json(text)
        except pydantic.ValidationError as error:
            raise argparse.ArgumentTypeError(f"not a valid {model.__name__}: {error}") from error

    parse.__name__ = model.__name__
    return parse


def run(main: Callable[[], None]) -> None:
    """Run a script; a known error becomes one message and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        main()
    except (FewshotError, OSError) as error:
        sys.exit(f"error: {error}")


def boolean(text: str) -> bool:
    """Parse ``true`` or ``false``."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected true or false")
    return text.lower() == "true"


def shard(text: str) -> tuple[int, int]:
    """Parse ``2-of-4`` into (1, 4): the 0-based share of so many jobs."""
    position, _, count = text.partition("-of-")
    if not (position.isdigit() and count.isdigit() and 1 <= int(position) <= int(count)):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected e.g. 2-of-4")
    return int(position) - 1, int(count)


def half_open(text: str) -> range:
    """Parse ``100:200`` into the range from 100 up to, and without, 200."""
    start, _, stop = text.partition(":")
    if not (start.isdigit() and stop.isdigit() and int(start) <= int(stop)):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected e.g. 100:200")
    return range(int(start), int(stop))


def integer_pairs(text: str) -> list[tuple[int, int]]:
    """Parse ``[[4, 5], [6, 7]]``."""
    try:
        return [(int(left), int(right)) for left, right in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected e.g. [[4, 5], [6, 7]]") from error
