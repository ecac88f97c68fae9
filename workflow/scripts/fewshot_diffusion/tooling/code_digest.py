"""What code a result depends on: a digest over the definitions that a script reaches, and over its environment.

What changes no computation changes no digest: comments, docstrings, descriptions of fields, and in which file a
definition stands. A reference counts by what it leads to, not by the alias or the module that it goes through.

In doubt too much is reached. Not seen: the order of statements that bind different names; what an assignment or a
class does when it is executed, if nothing uses its name; modules imported by a computed name; files that are no code.
"""

import ast
import functools
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from .code_files import CodeError, Module, Stamp, imports_of, kept, read, stamps
from .code_modules import EFFECTS, Key, Modules, effects_of
from .code_text import NOWHERE, Reader

__all__ = ["CodeError", "code_digest", "imported_modules", "reached"]

LIBRARY = "fewshot_diffusion"

_DEPTH = 6  # steps that a reference is followed to tell apart definitions of one name and one text
_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BINDING = ("Assign", "AnnAssign", "TypeAlias")  # by name: Python 3.11 has no TypeAlias
_PURE = (  # decorators that register nothing
    "<contextlib.",
    "<dataclasses.",
    "<enum.",
    "<functools.cache>",
    "<functools.lru_cache>",
    "<torch.inference_mode>",
    "<torch.no_grad>",
    "<typing.",
)


def code_digest(script: Path, env: Path) -> str:
    """Return 16 hex digits over every definition that a script reaches, and over the lines of its env file.

    Snakemake sees neither edits to imported modules nor (portably) to env files; this digest, passed as a
    parameter, makes exactly the rules stale whose results an edit may change.

    Raises:
        CodeError: A file cannot be read or parsed, or an import leads nowhere.
    """
    code, main = _open(script)
    lines = (line.partition(" #")[0].rstrip() for line in read(env).decode(errors="surrogateescape").splitlines())
    pins = [line for line in lines if line and not line.lstrip().startswith("#")]
    return _sha256(*sorted({code.fingerprint(key) for key in code.counted(main)}), *pins)[:16]


def reached(script: Path) -> set[tuple[Path, str]]:
    """Return file and name of every definition that a script reaches: what its digest is made of.

    The name ``<module>`` stands for what acts when the file is imported.

    Raises:
        CodeError: A file cannot be read or parsed, or an import leads nowhere.
    """
    code, main = _open(script)
    return {(module.path, name) for module, name in code.counted(main)}


def imported_modules(script: Path) -> set[str]:
    """Return the packages, Python's own aside, that must be installed for a script to run.

    Unlike the digest, this follows the imports of every module on the way: importing a module runs all of them.

    Raises:
        CodeError: A file cannot be read or parsed, or an import leads nowhere.
    """
    code, main = _open(script)
    return {name.partition(".")[0] for name in code.packages(main)} - sys.stdlib_module_names


def _open(script: Path) -> tuple["_Code", Module]:
    path = script.resolve()
    root = next((folder for folder in path.parents if (folder / LIBRARY / "__init__.py").is_file()), path.parent)
    if not path.is_file():
        raise CodeError(f"{script}: found no file, expected a Python script.")
    code = _code((path.parent, root), tuple(stamps(str(root))))
    if not code.modules.has(path):
        raise CodeError(f"{script}: found a file of another kind, expected a Python script, not hidden, named *.py.")
    return code, code.modules.module(path)


@functools.lru_cache(maxsize=4)  # scripts share most modules
def _code(folders: tuple[Path, ...], files: tuple[Stamp, ...]) -> "_Code":
    return _Code(Modules(folders, frozenset(path for path, *_ in files)))


@dataclass(frozen=True)
class _Definition:
    """Digest of the text, to what it refers in order of occurrence, all that it reaches, packages that it imports."""

    digest: str
    links: tuple[frozenset[Key], ...]
    uses: frozenset[Key]
    packages: frozenset[str]


class _Code:
    """The definitions of a tree and which of them use which; each is read once."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self.definition = functools.cache(self._define)
        self.fingerprint = functools.cache(self._fingerprint)
        self.effects = functools.cache(self._select_effects)

    def counted(self, main: Module) -> set[Key]:
        return {(module, name) for module, name in self._reach(main) if name != EFFECTS or self.effects(module)}

    def _reach(self, main: Module) -> set[Key]:
        waiting: list[Key] = [(main, name) for name in (EFFECTS, *main.statements)]
        found: set[Key] = set()
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += [(key[0], EFFECTS), *(self.definition(key).uses - found)]
        return found

    def packages(self, main: Module) -> set[str]:
        keys = self._reach(main)
        found = {package for key in keys for package in self.definition(key).packages}
        waiting, seen = [module for module, _ in keys], set[Module]()
        while waiting:
            if (module := waiting.pop()) not in seen:
                seen.add(module)
                targets = self.modules.imported(module)
                found |= {target for target in targets if isinstance(target, str)}
                waiting += [module for module, _ in effects_of(targets)] + self.modules.parents(module)
        return found

    def _fingerprint(self, key: Key, depth: int = _DEPTH) -> str:
        """Digest a text together with those that it refers to: a name alone does not tell which is meant."""
        definition = self.definition(key)
        if not depth or not definition.links:
            return definition.digest
        links = [sorted(self.fingerprint(to, depth - 1) for to in link) for link in definition.links]
        return _sha256(definition.digest, *map(str, links))

    def _define(self, key: Key) -> _Definition:
        module, name = key
        reader = Reader(self.modules, module)
        text = reader.text(self.effects(module) if name == EFFECTS else module.statements[name], NOWHERE)
        links = [frozenset(to for to in link if to[1] != EFFECTS) for link in reader.links]
        uses = reader.uses | (self._loaded_with(module) if name == EFFECTS else set())
        return _Definition(_sha256(text), tuple(links), frozenset(uses), frozenset(reader.packages))

    def _loaded_with(self, module: Module) -> set[Key]:
        """Return what counts once anything of a module does: its packages, ``*``, modules loaded but never named."""
        found = effects_of(self.modules.parents(module))
        for bound, imports in module.imports.items():
            targets = [target for one in imports for target in self.modules.targets(one)]  # checks that they exist
            modules = [target for target in targets if isinstance(target, Module)]
            if bound == "*":
                found.update(*map(self.modules.everything, modules))
            elif modules and not module.mentions(bound):
                found |= effects_of(modules)
        return found

    def _select_effects(self, module: Module) -> list[ast.AST]:
        return [statement for statement in module.body if self._acts(module, statement)]

    def _acts(self, module: Module, node: ast.AST) -> bool:
        """Whether a statement may do more than to bind names."""
        if isinstance(node, _DEFINING):
            return not all(self._is_pure(module, decorator) for decorator in node.decorator_list)
        if isinstance(node, ast.If | ast.Try | ast.ExceptHandler):
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.ExceptHandler)]
            return any(self._acts(module, child) for child in kept(inner))
        if isinstance(node, ast.Import | ast.ImportFrom):
            stars = [one for one in imports_of(module, [node]) if one.name == "*"]
            return any(isinstance(target, str) for one in stars for target in self.modules.targets(one))
        return type(node).__name__ not in _BINDING or any(map(_is_store_into, ast.walk(node)))

    def _is_pure(self, module: Module, decorator: ast.expr) -> bool:
        """Whether a decorator is known not to register what it decorates."""
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        return all(text.startswith(_PURE) for text in Reader(self.modules, module).text(called, NOWHERE).split("|"))


def _is_store_into(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load)


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()
