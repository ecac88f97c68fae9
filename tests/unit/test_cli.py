"""Command lines: every script says what it takes, and every mistake gets one message that names it."""

import logging
import re
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from fewshot_diffusion import cli
from fewshot_diffusion.config.data import SplitsConfig
from fewshot_diffusion.errors import DataError
from support import ROOT

SCRIPTS = sorted([*(ROOT / "workflow/scripts").glob("*.py"), *(ROOT / "tools").glob("*.py")])


@dataclass(frozen=True)
class Place:
    """Where it is.

    Attributes:
        start: The first one.
        folder: Its folder.
    """

    start: int
    folder: Path | None = None


def show_all(
    settings: SplitsConfig, samples: list[Path], place: Place, mode: Literal["a", "b"], value: bool, scale: float = 1.5
) -> None:
    """Show what it is passed.

    Args:
        settings: A section, JSON.
        samples: Some files.
        place: Where it is.
        mode: One of two.
        value: Yes or no.
        scale: A number.
    """
    print(settings.train, [path.name for path in samples], place, mode, value, scale)


def fail(path: Path) -> None:
    """Fail.

    Args:
        path: What it fails for.
    """
    if path.name == "known":
        raise DataError(f"{path}: is not there. Fetch it.")
    path.read_bytes()


GIVEN = {"settings": ['{"train": 3}'], "samples": ["a", "b c"], "start": [3], "mode": ["b"], "value": ["False"]}


def call(monkeypatch: pytest.MonkeyPatch, function: object, given: dict[str, list[object]]) -> int | str | None:
    """Run a function as a script would; return how it ends."""
    words = [str(word) for name, values in given.items() for word in (f"--{name}", *values)]
    monkeypatch.setattr(sys, "argv", ["job.py", *words])
    try:
        cli.run(function)  # type: ignore[arg-type]
    except SystemExit as end:
        return end.code
    return None


def test_options_become_typed_values(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, show_all, GIVEN | {"folder": ["x"], "scale": ["1e-3"]}) is None
    assert call(monkeypatch, show_all, GIVEN) is None
    assert capsys.readouterr().out.splitlines() == [
        "3 ['a', 'b c'] Place(start=3, folder=PosixPath('x')) b False 0.001",
        "3 ['a', 'b c'] Place(start=3, folder=None) b False 1.5",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": ["red"]}, r"--colour"),
        ({"mode": ["c"]}, r"'c'.*--mode"),
        ({"start": ["x"]}, r"--start"),
        ({"value": ["perhaps"]}, r"--value"),
        ({"settings": ["{"]}, r"--settings.*Invalid JSON"),
        ({"settings": ['{"train": -1, "judg": 2}']}, r"train: Input should be greater than or equal to 0; judg: Extra"),
    ],
)
def test_a_mistyped_option_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: dict[str, list[object]], said: str
) -> None:
    assert call(monkeypatch, show_all, GIVEN | change) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert re.search(said, " ".join(found.err.replace("│", " ").split()))


def test_a_missing_option_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in GIVEN:
        assert call(monkeypatch, show_all, {key: value for key, value in GIVEN.items() if key != name}) == 2
        assert f"--{name}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["known", "absent", "a\n$(touch canary)`touch canary`;[red]x"])
def test_a_known_error_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    end = str(call(monkeypatch, fail, {"path": [tmp_path / name]}))  # what sys.exit prints, with status 1
    assert end == f"error: {tmp_path}/known: is not there. Fetch it." or end.startswith("error: [Errno 2] No such file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_says_what_it_takes(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    found = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert end.value.code == 0
    summary = script.read_text().split('"""')[1].split("\n\n")[0]
    assert " ".join(summary.split())[:60] in found
