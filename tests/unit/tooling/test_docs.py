"""What README and docs name is there: files, headings, `make` targets, rules, and the options of an experiment."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from support import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RULE_FILES = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").rglob("*.smk"))]
EXAMPLES = {"TARGET", "config/mine.yaml", "slurm", "mine"}
"""Names that stand for the reader's own."""

TAKE_ONE = {"--cores", "--profile", "--sdm", "--conda-prefix", "--slurm-status-command", "--slurm-jobname-prefix"}
TAKE_MANY = {"--resources", "--set-resources", "--default-resources", "--configfile"}


@cache
def rule_texts() -> str:
    return "\n".join(path.read_text() for path in RULE_FILES)


def is_made(path: str) -> bool:
    """Return whether a rule writes a file of this name for some data set."""
    places = re.findall(r'"((?:<results>|results)/[^"]+)"', rule_texts())
    patterns = [
        re.escape(place)
        .replace("<results>", "results/[^/]+")
        .replace("<weights>", "diffusion_pytorch_model.safetensors")
        for place in places
    ]
    return any(re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", pattern), path) for pattern in patterns)


def code_of(page: Path) -> list[str]:
    """Return lines of code blocks and code within sentences."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]
    return [*(line for block in blocks for line in block.splitlines()), *inline]


def targets_of(command: str) -> tuple[list[str], list[str]]:
    """Return the targets and the configuration files of a call of Snakemake."""
    targets, files, taking = [], [], ""
    for word in shlex.split(command, comments=True)[1:]:
        if word.startswith("-"):
            taking = word if word in TAKE_ONE | TAKE_MANY else ""
            continue
        if taking == "--configfile":
            files.append(word)
        elif not taking:
            targets.append(word)
        taking = taking if taking in TAKE_MANY else ""
    return targets, files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        path = (page.parent / link).resolve() if link else page
        to_come = is_made(str(path.relative_to(ROOT))) and not path.parent.exists()  # results that nobody computed yet
        assert path.exists() or to_come, f"{link} is not there"
        if heading:
            headings = re.findall(r"^#+-(.*)$", path.read_text().lower().replace(" ", "-"), re.MULTILINE)
            assert heading in headings, f"{link} has no heading {heading}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_targets_and_files_that_there_are(page: Path) -> None:
    listed = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    gone = {"weights", "overhead"} if page.name == "CHANGELOG.md" else set()
    rules = set(re.findall(r"^ *(?:use )?rule (?:\w+ as )?(\w+)", rule_texts(), re.MULTILINE))
    for code in code_of(page):
        assert set(re.findall(r"(?:^|[;&] *)make ([a-z]+)", code)) <= listed | gone
        targets, files = targets_of(code) if code.startswith("snakemake ") else ([], [])
        assert not [target for target in targets if target not in rules | EXAMPLES and not is_made(target)], code
        assert not [file for file in files if file not in EXAMPLES and not (ROOT / file).is_file()], code


def test_the_readme_s_first_screen_is_picture_table_and_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("strip.png") < readme.index("| experiment |") < readme.index("make demo") < 4500
    assert re.search(r"^rule all:.*?rules\.draw_strip\.output", rule_texts(), re.MULTILINE | re.DOTALL)
