"""What a name in one of many Python files means: which definition of which file, or what of another package."""

import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from .code_files import CodeError, Import, Module, parse

EFFECTS = "<module>"  # stands among the names of a module for whatever acts when the module is imported

Key: TypeAlias = tuple[Module, str]
Target: TypeAlias = Module | Key | str  # a str: the dotted name of what another package defines
Meaning: TypeAlias = tuple[str, set[Key]]  # a text without the names of modules, and what is reached


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

    def has(self, path: Path) -> bool:
        return str(path) in self._files

    def _load(self, path: Path) -> Module:
        return Module(path, parse(path) if self.has(path) else [])

    def _find(self, folder: Path, name: str) -> Path | None:
        """Return where a module or package of a name is in a folder."""
        for path in (folder / name / "__init__.py", folder / f"{name}.py"):
            if self.has(path):
                return path
        inside = f"{folder / name}{os.sep}"
        return folder / name if any(file.startswith(inside) for file in self._files) else None

    def parents(self, module: Module) -> list[Module]:
        """Return the packages that Python runs before it runs a module."""
        paths = [folder / "__init__.py" for folder in module.path.parents]
        return [self.module(path) for path in paths if self.has(path) and path != module.path]

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

    def _mean(self, module: Module, root: str, rest: tuple[str, ...]) -> Meaning:
        """Return what ``root.rest`` means where ``root`` is a global name; the text is empty if it is none."""
        return self.follow_all(self.attribute(module, root), rest)

    def follow_all(self, targets: Iterable[Target], rest: tuple[str, ...]) -> Meaning:
        found = [self._follow(target, rest) for target in targets]
        texts = dict.fromkeys(text for text, _ in found if text)
        return "|".join(texts), {key for _, keys in found for key in keys}

    def _follow(self, target: Target, rest: tuple[str, ...]) -> Meaning:
        if isinstance(target, str):
            return f"<{'.'.join((target, *rest))}>", set()
        if isinstance(target, tuple):
            return "" if target[1] == EFFECTS else ".".join((f"@{target[1]}", *rest)), {target}
        if rest and (found := self.attribute(target, rest[0])):
            return self.follow_all(found, rest[1:])
        named = bool(rest) and rest[0] in ("__doc__", "__file__", "__name__")
        return ".".join(("@", *rest)), effects_of([target]) if named else self.everything(target)

    def attribute(self, module: Module, name: str) -> list[Target]:
        """Return what a name of a module means: nothing, or more than one thing if it is bound more than once."""
        if (module, name) not in self._meanings:
            self._meanings[module, name] = []  # ends a circle of modules that import a name from each other
            self._meanings[module, name] = list(self._search(module, name))
        found = self._meanings[module, name]
        place = self._place(module.folder, name) if module.is_package and not found else None
        return [self.module(place)] if place else found

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
        around = one.owner.folder.parts
        folders = (Path(*around[: len(around) + 1 - one.level]),) if one.level else self._folders
        home = next((folder for folder in folders if one.parts and self._place(folder, one.parts[0])), folders[0])
        if not one.level and not self._place(home, one.parts[0]):
            return None
        path = home / "__init__.py" if self.has(home / "__init__.py") else home
        for part in one.parts:
            found = self._place(home, part)
            if found is None:
                raise _leads_nowhere(one, f"'{'.' * one.level}{'.'.join(one.parts)}'", f"'{part}' to be in {home}")
            path, home = found, home / part
        return self.module(path)


def _leads_nowhere(one: Import, found: str, expected: str) -> CodeError:
    return CodeError(f"{one.owner.path}, line {one.line}: found an import of {found}, expected {expected}.")
