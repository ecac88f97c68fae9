"""Which files of the workflow lie beside its results in an RO-Crate, and what the report says of these."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Template

from ..storage.files import fingerprint, sha256

DOCUMENTS = {
    "CITATION.cff": "How to cite the workflow, and the paper",
    "LICENSE": "Licence of the workflow",
    "README.md": "What the workflow does, and where things are in its repository, which has the stored weights, too",
    "pyproject.toml": "The library as a package",
    "requirements.lock": "Exact version of every package",
}
FOLDERS = {
    "config": "Settings: the default, overlays of it, and what they may say",
    "docs": "Method, results in words, and how to run the workflow",
    "envs": "Environment of each kind of job, with exact versions",
    "profiles": "How Snakemake runs the jobs",
    "workflow": "Rules, scripts, the library that computes, and captions",
}
KINDS = {".csv", ".html", ".ipynb", ".json", ".md", ".py", ".rst", ".sh", ".smk", ".yaml"}
"""What the workflow is written in: other files in its folders are not its own."""

PICTURES = {".pdf", ".png"}
"""Suffixes of files that show images of the data."""


def workflow_files(folder: Path) -> list[str]:
    """Return the names of the files that the workflow consists of, sorted; hidden ones are not its own.

    Args:
        folder: Folder of the Snakefile.
    """
    found = [path.relative_to(folder) for name in FOLDERS for path in (folder / name).rglob("*")]
    own = [path for path in found if path.suffix in KINDS and not any(part.startswith(".") for part in path.parts)]
    return sorted(["Snakefile", *DOCUMENTS, *map(str, own)])


def workflow_digest(folder: Path) -> str:
    """Return a short digest of the workflow's files.

    Args:
        folder: Folder of the Snakefile.
    """
    return fingerprint({name: sha256(folder / name) for name in workflow_files(folder)})


def caption_text(template: str, rule: Mapping[str, Any]) -> str:
    """Return a caption of the report as plain text.

    Args:
        template: The caption, reStructuredText with placeholders of jinja2.
        rule: What placeholders may name of ``snakemake``: config, wildcards, params.
    """
    return " ".join(Template(template).render(snakemake=rule).replace("``", "`").split())
