"""Command lines from typed functions: a script is a docstring and one call of ``run``."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import pydantic
import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from .errors import FewshotError

_registry = ConstructorRegistry()
_PLAIN = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagConversionOff)


def run(function: Callable[..., Any]) -> None:
    """Call ``function`` with the options on the command line.

    Options are its parameters: ``--guidance-scale 10``, lists as ``--samples a b``, sections of the configuration as
    JSON, yes or no as ``--value True``; fields of a dataclass are options of their own. Their help is the docstring's.
    A known error becomes one message and exit status 1, a mistyped command line a message and exit status 2.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with _registry:
            tyro.cli(function, description=sys.modules["__main__"].__doc__ or function.__doc__, config=_PLAIN)
    except (FewshotError, OSError) as error:
        sys.exit(f"error: {error}")


@_registry.primitive_rule
def _section(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[pydantic.BaseModel] | None:
    """Take a section of the configuration as one JSON text."""
    model = info.type
    if not (isinstance(model, type) and issubclass(model, pydantic.BaseModel)):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda words: _parsed(model, words[0]),
        is_instance=lambda value: isinstance(value, model),
        str_from_instance=lambda value: [value.model_dump_json()],
    )


def _parsed(model: type[pydantic.BaseModel], text: str) -> pydantic.BaseModel:
    try:
        return model.model_validate_json(text)
    except pydantic.ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("; ".join(problems)) from error
