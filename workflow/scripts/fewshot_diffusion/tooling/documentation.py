"""Documents generated from the configuration model; a test fails when they drift."""

import json
import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..config.model import Config
from ..storage.files import write_text

INTRODUCTION = """# Configuration

Generated from the validated model (`workflow/scripts/fewshot_diffusion/config/`) by `make docs`; do not edit.

`config.yaml` is the default; every other YAML file here is an overlay that changes part of it, but for `claims.yaml`,
from which `make docs` computes `results/tables/claims.csv`. Mappings are merged key by key, everything else is
replaced. Name targets before the option, or it swallows them:

```sh
snakemake --cores 8 results/celebahq32/tables/attributes.csv --configfile config/celebahq.yaml
```

Relative paths mean the folder in which Snakemake works: the one where it is started, or `--directory`. Results go
there, too. From another folder: `snakemake --snakefile PATH/Snakefile ...`, with overlays as `PATH/config/mine.yaml`.

A mistyped key or a value out of range stops with the key, what was found and what is allowed, before anything runs.
"""


def schema_text() -> str:
    """Return the JSON schema of the configuration: ``config/schema.json``."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"


def readme_text() -> str:
    """Return ``config/README.md``: every key with its type, default and meaning."""
    sections = [INTRODUCTION]
    for path, model in _sections("", Config):
        rows = [_row(name, field) for name, field in model.model_fields.items()]
        summary = (model.__doc__ or "").strip().splitlines()[0]
        table = "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])
        sections.append(f"## {path or 'top level'}\n\n{summary}\n\n{table}\n")
    return "\n".join(sections)


def write_documents(folder: Path = Path("config")) -> None:
    """Write both documents.

    Args:
        folder: Where they go.
    """
    write_text(folder / "schema.json", schema_text())
    write_text(folder / "README.md", readme_text())


def _sections(path: str, model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    found: list[tuple[str, type[BaseModel]]] = [(path, model)]
    for name, field in model.model_fields.items():
        for nested in _models_in(field.annotation):
            inner = f"{path}.{name}".lstrip(".") + ("[]" if typing.get_origin(field.annotation) is list else "")
            found += _sections(inner, nested)
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else f"`{_plain(field.get_default(call_default_factory=True))}`"
    limits = ", ".join(_limits(field))
    kind = _type_name(field.annotation) + (f", {limits}" if limits else "")
    return f"| `{name}` | {kind} | {default} | {field.description or ''} |".replace("  ", " ")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return "{}"  # its keys have defaults of their own, below
    return str(value) if isinstance(value, Path) else yaml.safe_dump(value).split("\n")[0]


def _limits(field: FieldInfo) -> list[str]:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of"}
    return [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]


def _type_name(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_name(a) for a in arguments)
    if origin is not None:
        inner = ", ".join(_type_name(a) for a in arguments if a is not Ellipsis)
        return f"{origin.__name__} of {inner}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return "null" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))
