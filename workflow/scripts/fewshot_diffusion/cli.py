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
    """Call ``function`` with the options on the command line; a known error becomes one message and exit status 1.

    Options are its parameters: ``--guidance-scale 10``, lists as ``--samples a b``, sections of the configuration as
    JSON, yes or no as ``--value True``; fields of a dataclass are options of their own. Their help is the docstring's.
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
        instance_from_str=lambda words: model.model_validate_json(words[0]),
        is_instance=lambda value: isinstance(value, model),
        str_from_instance=lambda value: [value.model_dump_json()],
    )
