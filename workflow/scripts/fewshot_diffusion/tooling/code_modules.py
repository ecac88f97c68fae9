"""What the names in a tree of Python files mean: which definition of which file, or which other package."""

import ast
import functools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ..errors import FewshotError

LIBRARY = "fewshot_diffusion"
EFFECTS = "<module>"  # stands among the names of a module for whatever acts when the module is imported

Key: TypeAlias = "tuple[Module, str]"
Target: TypeAlias = "Module | Key | str"  # a str: the dotted name of what another package defines
Stamp = tuple[str, int, int, bytes]

_SCOPES = {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef}
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
_NAMING = {
    *_SCOPES,
    ast.Name,
    ast.Global,
    ast.Import,
    ast.ImportFrom,
    ast.ExceptHandler,
    ast.MatchAs,
    ast.MatchStar,
    ast.MatchMapping,
}
_CLOSED = {*_SCOPES, ast.Lambda, ast.comprehension, ast.Name, ast.Constant, ast.Global, ast.Import, ast.ImportFrom}
_RACY_SECONDS = 2  # an edit so soon after another may leave size and time of a file as they were


class CodeError(FewshotError):
    """A script or a module cannot be read or parsed, or imports what is not there."""


@dataclass(eq=False)
class Import:
    """One name bound by an import; ``name`` is None for ``import module``, ``bound`` is "" if it is loaded alone."""

    owner: "Module"
    line: int
    level: int
    parts: list[str]
    name: str | None
    bound: str


@dataclass(eq=False)
class Module:
    """A file, or a folder without ``__init__.py``, and which of its top-level statements bind which names."""

    path: Path
    body: list[ast.stmt]
    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[Import]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for statement in self.body:
            bound = Bound.by([statement])
            for one in imports_of(self, bound.imports):
                self.imports.setdefault(one.bound, []).append(one)
                bound.names.add(one.bound)
            for name in () if isinstance(statement, ast.Import | ast.ImportFrom) else bound.names - {"", "*"}:
                self.statements.setdefault(name, []).append(statement)

    @property
    def folder(self) -> Path:
        return self.path.parent if self.path.suffix == ".py" else self.path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py" or self.path.suffix != ".py"

    def mentions(self, name: str) -> bool:
        nodes = (node for statement in self.body for node in ast.walk(statement))
        return any(isinstance(node, ast.Name) and node.id == name for node in nodes)


@dataclass
class Bound:
    """What statements bind in the scope in which they stand."""

    names: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)  # declared global
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)

    @classmethod
    def by(cls, nodes: Iterable[ast.AST]) -> "Bound":
        bound, waiting = cls(), list(nodes)
        while waiting:
            node = waiting.pop()
            if type(node) in _NAMING:
                bound._add(node)
            elif type(node) is ast.comprehension:
                waiting += [node.iter, *node.ifs]
            if type(node) not in _CLOSED:
                waiting += _children(node)
        bound.imports.sort(key=lambda node: (node.lineno, node.col_offset))
        return bound

    def _add(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imports.append(node)
        elif isinstance(node, ast.Global):
            self.elsewhere.update(node.names)
        elif not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
            name = getattr(node, "id", getattr(node, "name", getattr(node, "rest", None)))
            self.names.update([name] if name else [])


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            yield from filter(None, value)
        elif isinstance(value, ast.AST):
            yield value


def imports_of(owner: Module, nodes: Iterable[ast.Import | ast.ImportFrom]) -> Iterator[Import]:
    """Yield what import statements bind, and every module that they load."""
    for node in nodes:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                parts = node.module.split(".") if node.module else []
                yield Import(owner, node.lineno, node.level, parts, alias.name, alias.asname or alias.name)
                continue
            parts = alias.name.split(".")
            yield Import(owner, node.lineno, 0, parts, None, alias.asname or "")
            if not alias.asname:
                yield Import(owner, node.lineno, 0, parts[:1], None, parts[0])


def kept(nodes: Iterable[ast.AST]) -> list[ast.AST]:
    """Leave out what computes nothing: docstrings, ``pass``, ``__all__``, what is for type checkers alone."""
    left: list[ast.AST] = []
    for node in nodes:
        if isinstance(node, ast.If) and _name_of(node.test) == "TYPE_CHECKING":
            left += kept(node.orelse)
        elif not _is_idle(node):
            left.append(node)
    return left


def _is_idle(node: ast.AST) -> bool:
    if isinstance(node, _ASSIGNMENTS):
        return _name_of(node.targets[0] if isinstance(node, ast.Assign) else node.target) == "__all__"
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _name_of(node: ast.expr) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def effects_of(targets: Iterable[Target]) -> set[Key]:
    return {(to if isinstance(to, Module) else to[0], EFFECTS) for to in targets if not isinstance(to, str)}


class Modules:
    """The modules that a script can import from its own folder or from the library's; each is parsed once."""

    def __init__(self, folders: tuple[Path, ...], files: frozenset[str]) -> None:
        self._folders = folders
        self._files = files
        self._meanings: dict[Key, list[Target]] = {}
        self.module = functools.cache(self._load)
        self.targets = functools.cache(self._resolve)
        self.refer = functools.cache(self._mean)
        self._place = functools.cache(self._find)

    def _load(self, path: Path) -> Module:
        body = parse(path).body if str(path) in self._files else []
        return Module(path, [node for node in kept(body) if isinstance(node, ast.stmt)])

    def _find(self, folder: Path, name: str) -> Path | None:
        """Return where a module or package of a name is in a folder."""
        for path in (folder / name / "__init__.py", folder / f"{name}.py"):
            if str(path) in self._files:
                return path
        inside = f"{folder / name}{os.sep}"
        return folder / name if any(file.startswith(inside) for file in self._files) else None

    def parents(self, module: Module) -> list[Module]:
        """Return the packages that Python runs before it runs a module."""
        paths = [folder / "__init__.py" for folder in module.path.parents]
        return [self.module(path) for path in paths if str(path) in self._files and path != module.path]

    def imported(self, module: Module) -> list[Target]:
        return [target for group in module.imports.values() for one in group for target in self.targets(one)]

    def everything(self, module: Module) -> set[Key]:
        """Return all that code may use which holds a module as an object."""
        targets = self.imported(module)
        found = {(module, name) for name in module.statements} | effects_of([module, *targets])
        found |= {target for target in targets if isinstance(target, tuple)}
        if module.is_package:
            inside = (Path(file) for file in self._files if Path(file).is_relative_to(module.folder))
            found.update(*(self.everything(self.module(path)) for path in inside if path != module.path))
        return found

    def follow(self, target: Target, rest: tuple[str, ...]) -> tuple[str, set[Key]]:
        """Return a text for attributes of what a name means, and what they reach; the text names no module."""
        if isinstance(target, str):
            return f"<{'.'.join((target, *rest))}>", set()
        if isinstance(target, tuple):
            return "" if target[1] == EFFECTS else ".".join((f"@{target[1]}", *rest)), {target}
        if rest and (found := self.attribute(target, rest[0])):
            return self.follow_all(found, rest[1:])
        named = bool(rest) and rest[0] in ("__doc__", "__file__", "__name__")
        return ".".join(("@", *rest)), effects_of([target]) if named else self.everything(target)

    def follow_all(self, targets: Iterable[Target], rest: tuple[str, ...]) -> tuple[str, set[Key]]:
        found = [self.follow(target, rest) for target in targets]
        return "|".join(text for text, _ in found if text), {key for _, keys in found for key in keys}

    def attribute(self, module: Module, name: str) -> list[Target]:
        """Return what a name of a module means: nothing, or more than one thing if it is bound more than once."""
        if (module, name) not in self._meanings:
            self._meanings[module, name] = []  # ends a circle of modules that import a name from each other
            self._meanings[module, name] = list(self._search(module, name))
        found = self._meanings[module, name]
        place = self._place(module.folder, name) if module.is_package and not found else None
        return [self.module(place)] if place else found

    def _mean(self, module: Module, root: str, rest: tuple[str, ...]) -> tuple[str, set[Key]]:
        return self.follow_all(self.attribute(module, root), rest)

    def _search(self, module: Module, name: str) -> Iterator[Target]:
        if name in module.statements:
            yield (module, name)
        for one in module.imports.get(name, ()):
            yield from self.targets(one)
        if name not in module.statements and name not in module.imports:
            for star in (target for one in module.imports.get("*", ()) for target in self.targets(one)):
                yield from self.attribute(star, name) if isinstance(star, Module) else ()

    def _resolve(self, one: Import) -> list[Target]:
        """Return what an import binds, and the effects of the module that it goes through."""
        base = self._base(one)
        if base is None:
            return [".".join([*one.parts, one.name] if one.name else one.parts)]
        if one.name in (None, "*"):
            return [base]
        if found := self.attribute(base, str(one.name)):
            return [*found, (base, EFFECTS)]
        raise _leads_nowhere(one, f"'{one.name}' from {base.path}", "a name that is defined there")

    def _base(self, one: Import) -> Module | None:
        """Return the module that the dotted part of an import names; None if it is of another package."""
        folders = [one.owner.folder, *one.owner.folder.parents][: one.level][-1:] if one.level else self._folders
        home = next((folder for folder in folders if one.parts and self._place(folder, one.parts[0])), folders[0])
        if not one.level and not self._place(home, one.parts[0]):
            return None
        path = home / "__init__.py" if str(home / "__init__.py") in self._files else home
        for part in one.parts:
            found = self._place(home, part)
            if found is None:
                raise _leads_nowhere(one, f"'{'.' * one.level}{'.'.join(one.parts)}'", f"'{part}' to be in {home}")
            path, home = found, home / part
        return self.module(path)


def _leads_nowhere(one: Import, found: str, expected: str) -> CodeError:
    return CodeError(f"{one.owner.path}, line {one.line}: found an import of {found}, expected {expected}.")


def read(path: Path) -> bytes:
    """Return the bytes of a file of code.

    Raises:
        CodeError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CodeError(f"{path}: found no readable file ({error.strerror}), expected one of code.") from error


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file.

    Raises:
        CodeError: It cannot be read, or is not Python.
    """
    try:
        return ast.parse(read(path), str(path))
    except (SyntaxError, ValueError) as error:
        line, what = getattr(error, "lineno", None) or 1, getattr(error, "msg", str(error))
        raise CodeError(f"{path}, line {line}: found what does not parse ({what}), expected Python.") from error


def stamps(folder: str) -> Iterator[Stamp]:
    """Yield what tells whether the Python files in a folder are still the same: path, time, size; content if new."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith((".", "__pycache__")):
                yield from stamps(entry.path)
            elif entry.name.endswith(".py"):
                stat = entry.stat()
                is_new = time.time() - stat.st_mtime < _RACY_SECONDS
                yield entry.path, stat.st_mtime_ns, stat.st_size, read(Path(entry.path)) if is_new else b""
