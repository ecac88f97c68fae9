"""What code a result depends on: a content digest over a script, its modules and its environment."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]


def code_digest(script: Path, env: Path) -> str:
    """Return a digest of a script, of every library module that it imports, and of its env file.

    Snakemake sees neither edits to imported modules nor (portably) to env files; this digest, passed as a
    parameter, makes exactly the rules stale that use what was edited.
    """
    digest = hashlib.sha256()
    for path in [*sorted(closure(script)), env]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def closure(script: Path) -> set[Path]:
    """Return the script and every module of this library that it imports, directly or not."""
    found: set[Path] = set()
    waiting = [script.resolve()]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported_files(path, path.read_bytes()))
    return found


@functools.cache  # most rules share most modules
def _imported_files(path: Path, source: bytes) -> tuple[Path, ...]:
    return tuple(_find_imports(path, ast.parse(source)))


def _find_imports(path: Path, tree: ast.Module) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(SCRIPTS, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[node.level - 1] if node.level else SCRIPTS
            parts = node.module.split(".") if node.module else []
            yield from _files_of(base, parts)
            for alias in node.names:
                yield from _files_of(base, [*parts, alias.name])


def _files_of(base: Path, parts: list[str]) -> Iterator[Path]:
    """Yield the module's file and the ``__init__.py`` of every package on the way to it."""
    for depth in range(1, len(parts) + 1):
        location = base.joinpath(*parts[:depth])
        for candidate in (location.with_suffix(".py"), location / "__init__.py"):
            if candidate.is_file():
                yield candidate.resolve()
