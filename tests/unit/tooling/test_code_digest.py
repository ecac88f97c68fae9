"""The digest of the code behind a result: it changes with what a script reaches, and with nothing else."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_diffusion.errors import FewshotError
from fewshot_diffusion.tooling import code_files
from fewshot_diffusion.tooling.code_digest import CodeError, code_digest, imported_modules, reached

SCRIPTS = Path(__file__).resolve().parents[3] / "workflow" / "scripts"

Files = dict[str, str]


def plant(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a tree; ``lib`` stands for the library's name. Every folder becomes a package, unless a file says not."""
    for name, text in {"lib/__init__.py": "", "env.yaml": "", **files}.items():
        path = folder / name.replace("lib/", "fewshot_diffusion/", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).replace("lib", "fewshot_diffusion"))
        for package in path.parents:
            if (
                folder in package.parents
                and "namespace" not in package.parts
                and not (package / "__init__.py").exists()
            ):
                (package / "__init__.py").write_text("")
    return folder


def digest(tmp_path: Path, files: Mapping[str, str], script: str = "script.py") -> str:
    """Return the digest of a script in a fresh tree."""
    folder = plant(tmp_path / str(len(list(tmp_path.iterdir()))), files)
    return code_digest(folder / script, folder / "env.yaml")


def names(tmp_path: Path, files: Mapping[str, str]) -> set[str]:
    """Return what the script reaches outside of itself, as ``module.name``."""
    folder = plant(tmp_path / "tree", files)
    found = ((path.relative_to(folder), name) for path, name in reached(folder / "script.py"))
    places = ((path.with_suffix("").as_posix(), name) for path, name in found)
    return {f"{path.removeprefix('fewshot_diffusion/')}.{name}" for path, name in places if path != "script"}


# Two scripts; script.py reaches train, fit, RATE, Settings and Base, other.py reaches draw alone.
TREE = {
    "script.py": """
        '''Train.'''
        from lib.a import Settings, train

        def main() -> None:
            print(train(Settings()))

        if __name__ == "__main__":
            main()
        """,
    "other.py": """
        from lib.a import draw

        draw()
        """,
    "lib/a.py": """
        '''Module a.'''
        import functools

        import numpy as np
        from pydantic import BaseModel, Field
        from torch.nn import functional as F

        from .b import fit

        WIDTH = 3


        class Base(BaseModel):
            '''What settings share.'''

            seed: int = 0


        class Settings(Base):
            kind: str = "linear"
            steps: int = Field(default=3, ge=1, description="how many")


        @functools.cache
        def train(settings: Settings, offset: float = 0.5) -> float:
            '''Train.'''
            # Here it happens.
            return F.relu(fit(settings.steps)) + offset


        def draw() -> int:
            return np.ones(WIDTH)
        """,
    "lib/b.py": """
        from .c import RATE, unused


        def fit(steps: int) -> float:
            return _inner(steps)


        def _inner(steps: int) -> float:
            return steps * RATE
        """,
    "lib/c.py": """
        RATE = 0.1
        OTHER = 0.2


        def unused() -> None:
            return OTHER
        """,
    "env.yaml": """
        # The environment.
        dependencies:
          - torch==2.0
        """,
}


def edited(file: str, old: str, new: str) -> Files:
    assert old in TREE[file]
    return {**TREE, file: TREE[file].replace(old, new)}


# --- what changes nothing


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("lib/a.py", "# Here it happens.", "# Here."),
        ("lib/a.py", "'''Train.'''", "'''Fit.'''"),
        ("lib/a.py", "'''What settings share.'''", "pass"),
        ("lib/a.py", "'''Module a.'''", ""),
        ("lib/a.py", 'description="how many"', 'description="number of " + "steps"'),
        ("lib/a.py", ', description="how many"', ""),
        ("lib/a.py", "seed: int = 0", "seed: int = 0\n            '''Of all streams.'''"),
        ("lib/b.py", "return steps * RATE", "return (\n\n                steps*RATE  # times\n            )"),
        ("lib/c.py", "OTHER = 0.2", "OTHER = 0.3"),
        ("lib/c.py", "def unused() -> None:", "def unused(more: int) -> None:"),
        ("lib/b.py", "import RATE, unused", "import unused, RATE"),
        ("lib/b.py", "import RATE, unused", "import RATE"),
        ("lib/b.py", "from .c import", "from lib.c import"),
        ("lib/a.py", "from torch.nn import functional as F", "import torch.nn.functional as F"),
        (
            "lib/a.py",
            "from .b import fit",
            "from .b import fit\n        __all__ = ['train']\n        __all__ += ['fit']",
        ),
        ("lib/a.py", "import functools\n", "from __future__ import annotations\n        import functools\n"),
        ("env.yaml", "# The environment.", "\n        # Other words."),
        ("env.yaml", "torch==2.0", "torch==2.0  # exactly"),
        ("script.py", "'''Train.'''", ""),
    ],
)
def test_what_computes_nothing_and_what_is_not_reached_change_nothing(
    tmp_path: Path, file: str, old: str, new: str
) -> None:
    assert digest(tmp_path, edited(file, old, new)) == digest(tmp_path, TREE)


def test_type_checking_blocks_and_type_comments_change_nothing(tmp_path: Path) -> None:
    plain = {"script.py": "from lib.a import f\nf()", "lib/a.py": "def f(x: 'X' = None):\n    y = 1\n    return y"}
    checked = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import X\n" + plain["lib/a.py"]
    checked = checked.replace("y = 1", "y = 1  # type: int\n    if TYPE_CHECKING:\n        y = 2")
    assert digest(tmp_path, {**plain, "lib/a.py": checked, "lib/b.py": "X = 1"}) == digest(tmp_path, plain)


def test_the_other_branch_of_a_type_checking_block_counts(tmp_path: Path) -> None:
    text = "import typing\nif typing.TYPE_CHECKING:\n    X = 0\nelse:\n    X = 1\n"
    files = {"script.py": "from lib.a import X\nprint(X)", "lib/a.py": text}
    assert digest(tmp_path, files) != digest(tmp_path, {**files, "lib/a.py": text.replace("X = 1", "X = 2")})
    assert digest(tmp_path, files) == digest(tmp_path, {**files, "lib/a.py": text.replace("X = 0", "X = 9")})


def test_only_the_order_of_statements_that_bind_one_name_counts(tmp_path: Path) -> None:
    def of(module: str) -> str:
        return digest(tmp_path, {"script.py": "from lib.a import f\nf()", "lib/a.py": module})

    first, second = "def f():\n    return g()\n", "def g():\n    return 1\n"
    assert of(first + second) == of(second + first)
    assert of("f = int\nf = str") != of("f = str\nf = int")


def test_where_scripts_and_library_lie_changes_nothing(tmp_path: Path) -> None:
    plant(tmp_path / "scripts with.dot" / "deep", TREE)
    folder = tmp_path / "scripts with.dot" / "deep"
    first = code_digest(folder / "script.py", folder / "env.yaml")
    assert first == digest(tmp_path, TREE)
    assert len(first) == 16
    assert set(first) <= set("0123456789abcdef")
    nested = {("figures/other name.py" if key == "script.py" else key): text for key, text in TREE.items()}
    assert digest(tmp_path, nested, "figures/other name.py") == first


@pytest.mark.parametrize(
    "script",
    [
        "from lib.deep.a import f\nf()",
        "from lib.deep import a\na.f()",
        "from lib.deep import a as b\nb.f()",
        "from lib import deep\ndeep.a.f()",
        "import lib.deep.a\nlib.deep.a.f()",
        "import lib.deep.a as z\nz.f()",
        "import os, lib.deep.a as z\nz.f()",
        "from lib.deep.a import f as g\ng()",
        "from lib.facade import f\nf()",
        "from lib.deep.a import *\nf()",
    ],
)
def test_how_a_name_is_imported_does_not_matter(tmp_path: Path, script: str) -> None:
    modules = {
        "lib/deep/a.py": "from ..b import g\ndef f():\n    return g()",
        "lib/b.py": "def g():\n    return 1",
        "lib/facade/__init__.py": "from .inner import f\n__all__ = ['f']",
        "lib/facade/inner.py": "from ..deep.a import f",
    }
    if "*" not in script:  # a star reaches whatever its module holds, here nothing else
        assert names(tmp_path, {"script.py": script, **modules}) == {"deep/a.f", "b.g"}
    assert digest(tmp_path, {"script.py": script, **modules}) == digest(
        tmp_path, {"script.py": "from lib.deep.a import f\nf()", **modules}
    )


# --- what changes the scripts that reach it, and no other


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("lib/c.py", "RATE = 0.1", "RATE = 0.2"),
        ("lib/c.py", "RATE = 0.1", "RATE = 0.1\n        RATE += 1"),
        ("lib/a.py", "offset: float = 0.5", "offset: float = 0.6"),
        ("lib/a.py", "offset: float", "offset: int"),
        ("lib/a.py", "-> float:\n            '''Train", "-> int:\n            '''Train"),
        ("lib/a.py", "@functools.cache", "@functools.lru_cache"),
        ("lib/a.py", "@functools.cache\n        ", ""),
        ("lib/a.py", "seed: int = 0", "seed: float = 0"),
        ("lib/a.py", "seed: int = 0", "seed: int = 1"),
        ("lib/a.py", 'kind: str = "linear"', 'kind: str = "cosine"'),
        ("lib/a.py", "ge=1", "ge=2"),
        ("lib/a.py", "class Settings(Base)", "class Settings(BaseModel)"),
        ("lib/b.py", "return steps * RATE", "return steps / RATE"),
        ("lib/b.py", "return steps * RATE", "return 'RATE'"),
        ("lib/a.py", "from torch.nn import functional as F", "from jax.nn import functional as F"),
        ("lib/a.py", "from torch.nn import functional as F", "from torch import nn as F"),
        ("script.py", "print(train", "repr(train"),
    ],
)
def test_a_change_is_seen_by_the_scripts_that_reach_it_alone(tmp_path: Path, file: str, old: str, new: str) -> None:
    after = edited(file, old, new)
    assert digest(tmp_path, after) != digest(tmp_path, TREE)
    assert digest(tmp_path, after, "other.py") == digest(tmp_path, TREE, "other.py")


@pytest.mark.parametrize(("old", "new"), [("WIDTH = 3", "WIDTH = 4"), ("import numpy as np", "import cupy as np")])
def test_a_change_of_what_another_script_reaches_is_not_seen(tmp_path: Path, old: str, new: str) -> None:
    after = edited("lib/a.py", old, new)
    assert digest(tmp_path, after) == digest(tmp_path, TREE)
    assert digest(tmp_path, after, "other.py") != digest(tmp_path, TREE, "other.py")


@pytest.mark.parametrize(("old", "new"), [("torch==2.0", "torch==2.1"), ("  - torch", "- torch")])
def test_a_change_of_the_env_file_is_seen(tmp_path: Path, old: str, new: str) -> None:
    assert digest(tmp_path, edited("env.yaml", old, new)) != digest(tmp_path, TREE)


def test_a_name_counts_by_what_it_leads_to(tmp_path: Path) -> None:
    """Both trees reach the same set of texts; only who uses which ``f``, three steps away, is exchanged."""
    same = "from .{0} import x\ndef f():\n    return g()\ndef g():\n    return x()\n"
    files = {
        "script.py": "from lib.a import f\nfrom lib.b import f as h\nprint(f(), h())",
        "lib/a.py": same.format("one"),
        "lib/b.py": same.format("two"),
        "lib/one.py": "def x():\n    return 1",
        "lib/two.py": "def x():\n    return 2",
    }
    exchanged = {**files, "script.py": files["script.py"].replace("print(f(), h())", "print(h(), f())")}
    assert digest(tmp_path, exchanged) != digest(tmp_path, files)


# --- what a script reaches


def reach(tmp_path: Path, module: str, script: str = "from lib.a import f\nf()", **more: str) -> set[str]:
    """Return what a script reaches if module a is given."""
    others = {f"lib/{name.replace('__in__', '/')}.py": text for name, text in more.items()}
    return names(tmp_path, {"script.py": script, "lib/a.py": module, **others})


@pytest.mark.parametrize(
    "use",
    [
        "def f():\n    return x",
        "async def f():\n    await x()",
        "@x\ndef f(): ...",
        "@x(1)\ndef f(): ...",
        "def f(a=x): ...",
        "def f(*, a=x): ...",
        "def f(a: x): ...",
        "def f(*a: x): ...",
        "def f() -> x: ...",
        "def f(a: 'x'): ...",
        "def f(a: 'list[x | None]'): ...",
        "def f(a: list['x']): ...",
        "def f():\n    a: 'x' = 1",
        "class f(x): ...",
        "class f(metaclass=x): ...",
        "class f(list['x']): ...",
        "class f:\n    a: 'x'",
        "class f:\n    a = x",
        "class f:\n    def g(self):\n        return lambda: x",
        "class f:\n    x = 1\n    def g(self):\n        return x",
        "f = x",
        "f: int = x",
        "f: x",
        "f = list['x']",
        "f = lambda a=x: a",
        "f = [x for _ in range(3)]",
        "f = [x for x in x]",
        "f = f'{x}'",
        "f, g = x, 1",
        "(f, *g) = x",
        "[f, (g, h)] = x",
        "f = g = x",
        "for f in x: ...",
        "with x as f: ...",
        "with x as (f, g): ...",
        "while f := x: ...",
        "if x:\n    def f(): ...\nelse:\n    f = 1",
        "try:\n    f = x\nexcept ValueError:\n    f = 1",
        "try:\n    f = 1\nexcept x:\n    f = 2",
        "match x:\n    case [f]: ...\n    case {'a': 1, **f}: ...",
        "match 1:\n    case x(a=f): ...",
        "f = 1\nf += x",
        "def f():\n    global x\n    x += 1",
        "def f():\n    global x\n    return x\n    x = 1",
        "def f():\n    def g(x):\n        return x\n    return g(x)",
        "def f():\n    x = 1\n    def g():\n        global x\n        return x",
        "def f():\n    return eval('x')",
        "def f():\n    return globals()['x']",
        "f = 1\nprint(x)",
    ],
)
def test_every_way_to_use_a_name_counts(tmp_path: Path, use: str) -> None:
    assert "a.x" in reach(tmp_path, f"def x():\n    return y\ny = 1\nunused = 2\n{use}\n")
    assert {"a.y", "a.f"} <= reach(tmp_path, f"def x():\n    return y\ny = 1\nunused = 2\n{use}\n")


@pytest.mark.parametrize(
    "use",
    [
        "def f(x):\n    return x",
        "def f(*x, **y):\n    return x, y",
        "def f():\n    x = 1\n    return x",
        "def f():\n    for x in range(3):\n        print(x.y)",
        "def f():\n    x: int = 1\n    return lambda: x",
        "def f(a):\n    with a as x:\n        return x",
        "f = [x for x in range(3)]",
        "f = lambda x: x",
        "def f(a: 'no type, x'):\n    return a.x",
        "def f():\n    '''x'''\n    return 'x'",
        "class f:\n    x = 1",
        "f = 1\nif False:\n    y = 1",
    ],
)
def test_a_local_name_or_an_attribute_is_not_a_use(tmp_path: Path, use: str) -> None:
    assert reach(tmp_path, f"def x():\n    return 1\n{use}\n") == {"a.f"}


@pytest.mark.parametrize(
    ("use", "found"),
    [
        ("from . import b\ndef f():\n    return b.x()", {"b.x"}),
        ("from . import b\ndef f():\n    return b.x.y.z", {"b.x"}),
        ("from . import b\ndef f():\n    return b.__name__", set()),
        ("from . import b\ndef f():\n    return getattr(b, 'x')", {"b.x", "b.y"}),
        ("from . import b\ndef f(m=b): ...", {"b.x", "b.y"}),
        ("from . import b\ndef f():\n    return b.__dict__['x']", {"b.x", "b.y"}),
        ("from . import b\ndef f():\n    b.x = 1", {"b.x"}),
        ("from . import b\ndef f(b):\n    return b.y", set()),
        ("def f():\n    from .b import x\n    return x()", {"b.x"}),
        ("def f():\n    from . import b\n    return b.x()", {"b.x"}),
        ("def f():\n    import lib.b\n    return lib.b.x()", {"b.x"}),
        ("def f():\n    def g():\n        return b.x()\n    from . import b", {"b.x"}),
        ("class f:\n    from .b import x\n    y = x", {"b.x"}),
        ("try:\n    from .b import x as f\nexcept ImportError:\n    f = None", {"b.x"}),
        ("if True:\n    from . import b as m\nelse:\n    m = None\ndef f():\n    return m.x", {"b.x", "a.m"}),
        ("from .b import *\ndef f(): ...", {"b.x", "b.y"}),
        ("from .b import *\nf = x", {"b.x", "b.y"}),
    ],
)
def test_every_way_to_import_counts(tmp_path: Path, use: str, found: set[str]) -> None:
    assert reach(tmp_path, use, b="def x():\n    return 1\ny = 1") == {"a.f", *found}


def test_a_package_held_as_an_object_reaches_all_inside(tmp_path: Path) -> None:
    more = {"p__in____init__": "from .b import x", "p__in__b": "x = 1\ny = 2", "p__in__q__in__c": "z = 3"}
    found = reach(tmp_path, "from . import p\ndef f(name):\n    return getattr(p, name)", **more)
    assert found == {"a.f", "p/b.x", "p/b.y", "p/q/c.z"}


def test_modules_may_import_each_other(tmp_path: Path) -> None:
    more = {"b": "from .a import g, f\nfrom . import a\ndef h():\n    return g(), a.f()"}
    assert reach(tmp_path, "from .b import h\ndef f():\n    return h()\ndef g(): ...", **more) == {"a.f", "a.g", "b.h"}


def test_a_folder_without_init_is_a_package_too(tmp_path: Path) -> None:
    module = "from .namespace.inner import x\nfrom .namespace import other\ndef f():\n    return x, other.y"
    more = {"namespace__in__inner": "x = 1", "namespace__in__other": "from ..c import z\ny = z", "c": "z = 1"}
    found = reach(tmp_path, module, **more)
    assert found == {"a.f", "namespace/inner.x", "namespace/other.y", "c.z"}


def test_a_name_of_a_package_wins_over_its_module_of_that_name(tmp_path: Path) -> None:
    more = {"p__in____init__": "from .draw import draw", "p__in__draw": "def draw(): ...\ndef other(): ..."}
    assert reach(tmp_path, "from .p import draw\nf = draw", **more) == {"a.f", "p/draw.draw"}


def test_a_script_reaches_all_of_itself(tmp_path: Path) -> None:
    folder = plant(tmp_path, {"script.py": "import os\nX = 1\ndef main(): ...\nif X:\n    main()"})
    assert reached(folder / "script.py") == {(folder / "script.py", name) for name in ("X", "main", "<module>")}


# --- what acts when a module is imported


@pytest.mark.parametrize(
    "effect",
    [
        "matplotlib.use('Agg')",
        "TABLE['x'] = f",
        "matplotlib.rc.dpi = 3",
        "TABLE += [1]",
        "del TABLE",
        "assert TABLE",
        "for name in TABLE:\n    print(name)",
        "if TABLE:\n    print(1)",
        "try:\n    matplotlib.use('Agg')\nexcept ValueError:\n    pass",
        "with TABLE:\n    pass",
        "@register\ndef g(): ...",
        "@TABLE.add('g')\nclass g: ...",
        "@functools.partial(register, 1)\ndef g(): ...",
        "@atexit.register\ndef g(): ...",
        "from numpy import *",
    ],
)
def test_effects_of_a_module_count_once_anything_of_it_is_reached(tmp_path: Path, effect: str) -> None:
    module = "import atexit\nimport functools\nimport matplotlib\nfrom .b import register\nTABLE = {}\ndef f(): ...\n"
    script, more = "from lib.a import f\nf()", {"lib/b.py": "def register(g): ..."}
    without = {"script.py": script, "lib/a.py": module, **more}
    acting = {**without, "lib/a.py": f"{module}{effect}\n"}
    assert "a.<module>" in names(tmp_path, acting)
    assert digest(tmp_path, acting) != digest(tmp_path, without)
    unreached = {"script.py": "from lib.b import register\nregister(1)"}
    assert digest(tmp_path, {**acting, **unreached}) == digest(tmp_path, {**without, **unreached})


@pytest.mark.parametrize(
    "quiet",
    [
        "X = {}",
        "X: int = 3",
        "import os",
        "from .b import register",
        "__all__ = ['f']",
        "'''words'''",
        "@functools.cache\ndef g(): ...",
        "@dataclass(frozen=True)\nclass g: ...",
        "if X:\n    Y = 1\nelse:\n    import os as Y",
        "try:\n    import numpy as n\nexcept ImportError:\n    n = None",
        "if TYPE_CHECKING:\n    print(1)",
    ],
)
def test_what_only_binds_names_has_no_effects(tmp_path: Path, quiet: str) -> None:
    head = (
        "import functools\nfrom dataclasses import dataclass\nfrom typing import TYPE_CHECKING\nX = 1\ndef f(): ...\n"
    )
    assert reach(tmp_path, f"{head}{quiet}\n", b="def register(g): ...") == {"a.f"}


def test_the_order_of_effects_counts(tmp_path: Path) -> None:
    files = {"script.py": "from lib.a import f\nf()", "lib/a.py": "def f(): ...\nprint(1)\nprint(2)"}
    assert digest(tmp_path, files) != digest(tmp_path, {**files, "lib/a.py": "def f(): ...\nprint(2)\nprint(1)"})


def test_effects_reach_what_they_use(tmp_path: Path) -> None:
    assert reach(tmp_path, "def f(): ...\ndef g():\n    return x\nx = 1\nprint(g)") == {
        "a.f",
        "a.g",
        "a.x",
        "a.<module>",
    }


def test_effects_of_packages_on_the_way_count(tmp_path: Path) -> None:
    script = "from lib.facade import f\nf()"
    more = {
        "p__in____init__": "print(1)",
        "p__in__q__in__b": "from lib.a import f as g\nf = g",
        "facade": "from .p.q.b import f\nprint(2)",
    }
    found = reach(tmp_path, "def f(): ...", script, **more)
    assert found == {"p/__init__.<module>", "p/q/b.f", "facade.<module>", "a.f"}


@pytest.mark.parametrize("load", ["from . import b", "import lib.b"])
def test_a_module_imported_for_its_effects_counts(tmp_path: Path, load: str) -> None:
    assert reach(tmp_path, f"{load}\ndef f(): ...", b="x = 1\nprint(x)") == {"a.f", "b.x", "b.<module>"}


# --- which packages must be installed


def test_packages_of_every_module_on_the_way_are_named(tmp_path: Path) -> None:
    files = {
        "script.py": "import os, yaml.nodes\nfrom lib.a import f\nf()",
        "lib/a.py": "from torch.nn import functional as F\nfrom .b import unused\ndef f():\n    import tqdm",
        "lib/b.py": "import numpy as np\nfrom PIL import Image\ndef unused():\n    import jax",
        "lib/c.py": "import tensorflow",
    }
    folder = plant(tmp_path, files)
    assert imported_modules(folder / "script.py") == {"yaml", "torch", "tqdm", "numpy", "PIL"}


def test_packages_for_type_checkers_alone_are_not_named(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import numpy\n"
    folder = plant(tmp_path, {"script.py": text})
    assert imported_modules(folder / "script.py") == {"numpy"}


# --- errors


@pytest.mark.parametrize(
    ("script", "line", "message"),
    [
        ("x = 1\ndef f(:\n", 2, "found what does not parse (invalid syntax), expected Python"),
        ("\nfrom lib.missing import f", 2, "found an import of 'lib.missing', expected 'missing' to be in"),
        ("import lib.missing", 1, "found an import of 'lib.missing', expected 'missing' to be in"),
        ("from lib import missing", 1, "found an import of 'missing' from"),
        ("from lib.a import f, missing", 1, "expected a name that is defined there"),
        ("def g():\n    from lib.a import missing", 2, "found an import of 'missing' from"),
        ("from ........lib import f", 1, "found an import of '........lib', expected"),
    ],
)
def test_an_error_says_where_and_what_was_expected(tmp_path: Path, script: str, line: int, message: str) -> None:
    folder = plant(tmp_path, {"script.py": script, "lib/a.py": "def f(): ..."})
    with pytest.raises(CodeError) as error:
        code_digest(folder / "script.py", folder / "env.yaml")
    assert isinstance(error.value, FewshotError)
    assert str(error.value).startswith(f"{folder / 'script.py'}, line {line}: ")
    assert message.replace("lib", "fewshot_diffusion") in str(error.value)


def test_names_that_modules_import_from_each_other_alone_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match="found an import of 'f' from"):
        reach(tmp_path, "from .b import f", b="from .a import f")


@pytest.mark.parametrize(("script", "env"), [("no.py", "env.yaml"), ("script.py", "no.yaml"), ("env.yaml", "env.yaml")])
def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, script: str, env: str) -> None:
    folder = plant(tmp_path, TREE)
    with pytest.raises(CodeError, match=r"found (no|a) .*file.*, expected"):
        code_digest(folder / script, folder / env)


# --- reading files


def test_an_edit_at_once_is_seen(tmp_path: Path) -> None:
    folder = plant(tmp_path, TREE)
    for rate in ("0.2", "0.3", "0.2", "0.4"):
        before = code_digest(folder / "script.py", folder / "env.yaml")
        path = folder / "fewshot_diffusion" / "c.py"
        path.write_text(path.read_text().replace("RATE = 0.", f"RATE = {rate}#"))
        assert code_digest(folder / "script.py", folder / "env.yaml") != before
        path.write_text(path.read_text().replace(f"RATE = {rate}#", "RATE = 0."))
        assert code_digest(folder / "script.py", folder / "env.yaml") == before


def test_a_file_is_parsed_once_for_all_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plant(tmp_path, TREE)
    parsed: list[str] = []
    parse = code_files.ast.parse
    monkeypatch.setattr(code_files.ast, "parse", lambda text, *rest, **more: (parsed.append(rest[0]), parse(text))[1])
    for script in ("script.py", "other.py", "script.py"):
        code_digest(folder / script, folder / "env.yaml")
    assert len(parsed) == len(set(parsed)) == 6


# --- any graph of functions in any layout

PLACES = ("a", "b", "p/c", "p/q/d")


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[set[int]], list[str], list[str]]:
    """Which of up to five functions calls which, and two ways to spread them over modules."""
    size = draw(st.integers(1, 5))
    calls = draw(st.lists(st.sets(st.integers(0, size - 1)), min_size=size, max_size=size))
    layouts = st.lists(st.sampled_from(PLACES), min_size=size, max_size=size)
    return calls, draw(layouts), draw(layouts)


def laid_out(calls: list[set[int]], layout: list[str], edited: int | None = None) -> Files:
    files = {"script.py": f"from lib.{layout[0].replace('/', '.')} import f0\nf0()\n"}
    for number, (place, called) in enumerate(zip(layout, calls, strict=True)):
        imports = [
            f"from lib.{layout[one].replace('/', '.')} import f{one}\n" for one in called if layout[one] != place
        ]
        body = f"def f{number}():\n    return {[number + 100 * (number == edited)]}, {[f'f{one}' for one in called]}\n"
        file = f"lib/{place}.py"
        files[file] = files.get(file, "") + "".join(imports) + body.replace("'", "")
    return files


def closure(calls: list[set[int]]) -> set[int]:
    found, waiting = set(), {0}
    while waiting:
        found.add(one := waiting.pop())
        waiting |= calls[one] - found
    return found


@settings(max_examples=25, deadline=None)
@given(graph=graphs(), data=st.data())
def test_any_layout_has_one_digest_and_an_edit_changes_it_if_reached(
    tmp_path_factory: pytest.TempPathFactory, graph: tuple[list[set[int]], list[str], list[str]], data: st.DataObject
) -> None:
    calls, here, there = graph
    tmp_path = tmp_path_factory.mktemp("graph")
    before = digest(tmp_path, laid_out(calls, here))
    assert digest(tmp_path, laid_out(calls, there)) == before
    number = data.draw(st.integers(0, len(calls) - 1))
    assert (digest(tmp_path, laid_out(calls, there, number)) != before) == (number in closure(calls))
    shutil.rmtree(tmp_path)


# --- today's scripts


def test_every_script_of_the_project_has_a_digest_of_its_own() -> None:
    env = SCRIPTS.parents[1] / "envs" / "data.yaml"
    scripts = sorted(SCRIPTS.glob("*.py"))
    assert len({code_digest(script, env) for script in scripts}) == len(scripts)
    assert all(path.is_relative_to(SCRIPTS) for script in scripts for path, _ in reached(script))
