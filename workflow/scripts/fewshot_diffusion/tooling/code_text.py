"""The text of a definition, in which nothing is left that computes nothing, and to what the definition refers."""

import ast
from collections.abc import Callable
from typing import Any

from .code_files import Bound, Import, Module, imports_of, kept
from .code_modules import Key, Modules, effects_of

Scope = frozenset[str]  # the names that are local where a node stands

NOWHERE: Scope = frozenset()  # outside of functions

_OPAQUE = ("eval", "exec", "globals")  # may use any name of their module
_UNSEEN = {"ctx", "kind", "type_comment"}  # these fields of nodes compute nothing


class Reader:
    """Turns statements of a module into a text, and notes to what they refer.

    The text is that of ``ast.dump``, but it leaves out empty fields, which differ between versions of Python.
    """

    def __init__(self, modules: Modules, module: Module) -> None:
        self.links: list[set[Key]] = []
        self.uses: set[Key] = set()
        self.packages: set[str] = set()
        self._modules = modules
        self._module = module
        self._local_imports: dict[str, list[Import]] = {}
        self._types = 0  # how many types the node is part of

    def text(self, node: object, scope: Scope) -> str:
        special = _SPECIAL.get(type(node))
        if special:
            return special(self, node, scope)
        return self._fields(node, scope) if isinstance(node, ast.AST) else repr(node)

    def _list(self, nodes: list[ast.AST], scope: Scope) -> str:
        return f"[{','.join([self.text(node, scope) for node in kept(nodes)])}]"

    def _fields(self, node: ast.AST, scope: Scope, apart: str = "") -> str:
        parts = [type(node).__name__]
        for name in node._fields:
            value = None if name in _UNSEEN or name == apart else getattr(node, name, None)
            if value is None or value == []:
                continue
            is_type = name in ("annotation", "returns") or (name == "slice" and not scope)
            self._types += is_type
            parts.append(f"{name}={self.text(value, scope)}")
            self._types -= is_type
        return f"({' '.join(parts)})"

    def _constant(self, node: ast.Constant, scope: Scope) -> str:
        if self._types and isinstance(node.value, str):
            self._read_quoted(node.value, scope)
        return f"={node.value!r}"

    def _read_quoted(self, quoted: str, scope: Scope) -> None:
        """Note to what a string in a type refers."""
        try:
            tree = ast.parse(quoted, mode="eval")
        except (SyntaxError, ValueError):
            return  # no type but, say, a string of Annotated
        self.text(tree.body, scope)

    def _call(self, node: ast.Call, scope: Scope) -> str:
        if getattr(node.func, "attr", getattr(node.func, "id", "")) == "Field":
            keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
            node = ast.Call(node.func, node.args, keywords)
        return self._fields(node, scope)

    def _scope(self, node: Any, scope: Scope) -> str:
        """Read a function, a lambda or a class, whose body sees other names than what surrounds it."""
        bound = Bound.by(node.body if isinstance(node.body, list) else [node.body])
        imports = list(imports_of(self._module, bound.imports))
        for one in imports:
            self._local_imports.setdefault(one.bound, []).append(one)
        inner = scope
        if not isinstance(node, ast.ClassDef):  # methods do not see the names of their class
            arguments = {child.arg for child in ast.iter_child_nodes(node.args) if isinstance(child, ast.arg)}
            inner = (scope | bound.names | arguments) - bound.elsewhere - {one.bound for one in imports}
        return self._fields(node, scope, apart="body") + self.text(node.body, inner)

    def _comprehension(self, node: Any, scope: Scope) -> str:
        """Read what has names of its own, which its first iterable does not see."""
        targets = [part for generator in node.generators for part in ast.walk(generator.target)]
        names = {part.id for part in targets if isinstance(part, ast.Name)}
        return self.text(node.generators[0].iter, scope) + self._fields(node, scope | names)

    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> str:
        targets = [to for one in imports_of(self._module, [node]) for to in self._modules.targets(one)]
        others = {target for target in targets if isinstance(target, str)}
        self.packages |= others
        self.uses |= effects_of(targets) | {target for target in targets if isinstance(target, tuple)}
        return f"import{sorted(others)}"

    def _added_to(self, node: ast.AugAssign, scope: Scope) -> str:
        target = node.target
        read = self._name(target.id, (), scope) if isinstance(target, ast.Name) else ""
        return read + self._fields(node, scope)

    def _chain(self, node: ast.expr, scope: Scope) -> str:
        """Read a name and the attributes behind it: ``root.rest``."""
        rest: list[str] = []
        base = node
        while isinstance(base, ast.Attribute):
            rest.insert(0, base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            return ".".join((self.text(base, scope), *rest))
        return self._name(base.id, tuple(rest), scope) if isinstance(base.ctx, ast.Load) else base.id

    def _name(self, root: str, rest: tuple[str, ...], scope: Scope) -> str:
        plain = ".".join((root, *rest))
        if root in scope:
            return plain
        text, keys = self._modules.refer(self._module, root, rest)
        if root in self._local_imports:
            targets = [to for one in self._local_imports[root] for to in self._modules.targets(one)]
            local_text, local_keys = self._modules.follow_all(targets, rest)
            text, keys = f"{text}|{local_text}", keys | local_keys
        if not text and root in _OPAQUE:
            keys = self._modules.everything(self._module)
        self.links += [keys] if keys else []
        self.uses |= keys
        return text or plain


_SPECIAL: dict[type, Callable[[Reader, Any, Scope], str]] = {
    list: Reader._list,
    ast.Name: Reader._chain,
    ast.Attribute: Reader._chain,
    ast.Constant: Reader._constant,
    ast.Call: Reader._call,
    ast.AugAssign: Reader._added_to,
    ast.Import: Reader._import,
    ast.ImportFrom: Reader._import,
    **dict.fromkeys((ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda), Reader._scope),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), Reader._comprehension),
}
