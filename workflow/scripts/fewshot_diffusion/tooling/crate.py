"""What a repository of research data takes: tables and figures beside the workflow that made them, in one RO-Crate."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import yaml
from pydantic import BaseModel
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from ..storage.files import atomic_path, require_file
from .crate_files import DOCUMENTS, FOLDERS, PICTURES, workflow_files

FORMATS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
}
"""Suffix -> media type; every other described file is plain text."""

SHA256 = {"sha256": "http://schema.org/sha256"}  # younger than the terms of RO-Crate 1.1


class Product(BaseModel):
    """A table or figure, and what the report says of it.

    Attributes:
        path: The file, from the folder of the run.
        name: Experiment and content.
        description: Its caption.
    """

    path: Path
    name: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run that made the products.

    Attributes:
        data_set: Name of the data set.
        credit: Whose images the figures show; empty if nobody asks for it.
        pictures: Licence of these images, as SPDX names it; empty if there is no figure.
        settings: The validated configuration, as JSON.
        snakemake: Version of Snakemake.
    """

    data_set: str
    credit: str
    pictures: str
    settings: str
    snakemake: str


def make_crate(run: Run, products: list[Product], workflow: Path, output: Path) -> None:
    """Write one zip archive whose ``ro-crate-metadata.json`` describes what is in it.

    Every file has its name from the folder of the run or of the workflow: unpacked, the workflow finds the products
    where it would write them. The same content gives the same bytes; as long as CITATION.cff has no ``date-released``,
    so must the day of the newest product be the same.

    Args:
        run: The run that made the products.
        products: Tables and figures.
        workflow: Folder of the workflow.
        output: The archive.

    Raises:
        CorruptFileError: If a product or a document of the workflow is missing or empty.

    Source: RO-Crate 1.1, https://w3id.org/ro/crate/1.1; Workflow RO-Crate 1.0,
        https://w3id.org/workflowhub/workflow-ro-crate/1.0
    """
    files = {name: workflow / name for name in workflow_files(workflow)}
    files |= {str(product.path): product.path for product in products}
    for path in files.values():
        require_file(path)
    settings = Product(
        path=Path("results", run.data_set, "settings.json"), name="Settings", description="What the run was asked for"
    )
    contents = {name: path.read_bytes() for name, path in files.items()}
    contents[str(settings.path)] = _json(json.loads(run.settings))
    citation = yaml.safe_load(contents["CITATION.cff"])
    crate = _described_workflow(run, citation, contents)
    # Never the day on which the archive is made: the same content, the same bytes.
    crate.datePublished = str(citation.get("date-released") or _day_of_the_newest(products))
    licence = _add_licence(crate, run.pictures) if run.pictures else None
    for product in (settings, *sorted(products, key=lambda product: product.path)):
        _add_file(crate, contents, product, licence if product.path.suffix in PICTURES else None)
    _write(output, contents | {crate.metadata.id: _json(crate.metadata.generate())})


def _described_workflow(run: Run, citation: Mapping[str, Any], contents: Mapping[str, bytes]) -> ROCrate:
    """Return a crate that describes itself and the workflow, as CITATION.cff does."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms = SHA256
    crate.name = f"{run.data_set}: tables and figures of {citation['title']}"
    crate.description = f"{citation['abstract']} {run.credit}".strip()
    crate.keywords = citation["keywords"]
    crate.license = _add_licence(crate, citation["license"])
    authors = _add_authors(crate, citation["authors"])
    crate.root_dataset.append_to("author", authors, compact=True)
    crate.root_dataset["citation"] = _add_paper(crate, citation["preferred-citation"])
    main = crate.add_workflow(
        dest_path="Snakefile",
        main=True,
        lang="snakemake",
        lang_version=run.snakemake,
        properties={
            "name": citation["title"],
            "description": citation["abstract"],
            "version": citation["version"],
            "license": crate.license,
            **_facts("Snakefile", contents),
        },
    )
    main.append_to("creator", authors, compact=True)
    for name, description in DOCUMENTS.items():
        _add_file(crate, contents, Product(path=Path(name), name=name, description=description))
    crate.get("README.md")["about"] = crate.root_dataset  # as the profile asks
    for name, description in FOLDERS.items():
        crate.add_dataset(dest_path=name, properties={"name": name, "description": description})
    return crate


def _add_file(
    crate: ROCrate, contents: Mapping[str, bytes], file: Product, licence: ContextEntity | None = None
) -> None:
    """Add a file; a licence of its own stands before that of the whole."""
    properties = {"name": file.name, "description": file.description, **_facts(str(file.path), contents)}
    crate.add_file(dest_path=file.path, properties=properties | ({"license": licence} if licence else {}))


def _add_licence(crate: ROCrate, spdx: str) -> ContextEntity:
    return _add(crate, f"https://spdx.org/licenses/{spdx}", "CreativeWork", spdx)


def _facts(name: str, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Return what can be checked of a file."""
    return {
        "encodingFormat": FORMATS.get(Path(name).suffix, "text/plain"),
        "contentSize": str(len(contents[name])),
        "sha256": hashlib.sha256(contents[name]).hexdigest(),
    }


def _add(crate: ROCrate, url: str, kind: str, name: str, **properties: Any) -> ContextEntity:
    """Add what is no file: ``url`` names it, or, within the crate, a word after ``#``."""
    return crate.add(ContextEntity(crate, url, {"@type": kind, "name": name, **properties}))


def _add_authors(crate: ROCrate, authors: Sequence[Mapping[str, str]]) -> list[ContextEntity]:
    """Add people and organisations as CITATION.cff names them."""
    found = []
    for author in authors:
        name = author.get("name") or f"{author['given-names']} {author['family-names']}"
        url = author.get("orcid") or "#" + name.replace(" ", "-")
        found.append(_add(crate, url, "Organization" if "name" in author else "Person", name))
    return found


def _add_paper(crate: ROCrate, paper: Mapping[str, Any]) -> ContextEntity:
    properties = {
        "author": _add_authors(crate, paper["authors"]),
        "datePublished": str(paper["year"]),
        "identifier": paper["identifiers"][0]["value"],
    }
    return _add(crate, "#paper", "ScholarlyArticle", paper["title"], **properties)


def _day_of_the_newest(products: Sequence[Product]) -> str:
    """Return the day (UTC) on which the last product was written, as an ISO date."""
    return datetime.fromtimestamp(max(product.path.stat().st_mtime for product in products), UTC).date().isoformat()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _write(output: Path, contents: Mapping[str, bytes]) -> None:
    """Write an archive without times, and uncompressed: compressors differ, and figures are compressed."""
    with atomic_path(output) as temporary, ZipFile(temporary, "w") as archive:
        for name in sorted(contents):
            entry = ZipInfo(name)  # of the year 1980
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, contents[name])
