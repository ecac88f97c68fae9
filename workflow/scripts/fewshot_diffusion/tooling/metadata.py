"""What archives ask of a software, from CITATION.cff and pyproject.toml alone: codemeta.json and .zenodo.json."""

import json
import tomllib
from pathlib import Path
from typing import Any

import yaml

from ..storage.files import write_text


def codemeta(citation: dict[str, Any], project: dict[str, Any]) -> dict[str, Any]:
    """Return the software as CodeMeta 3.0 describes it.

    Args:
        citation: CITATION.cff.
        project: Section project of pyproject.toml.

    Source: CodeMeta 3.0, https://w3id.org/codemeta/3.0
    """
    paper = citation["preferred-citation"]
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": citation["title"],
        "version": citation["version"],
        "description": citation["abstract"],
        "license": f"https://spdx.org/licenses/{citation['license']}",
        "author": [{"@type": "Organization", "name": author["name"]} for author in citation["authors"]],
        "keywords": citation["keywords"],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {project['requires-python']}",
        "operatingSystem": "Linux",
        "softwareRequirements": project["dependencies"],
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "name": paper["title"],
            "author": [
                {"@type": "Person", "givenName": author["given-names"], "familyName": author["family-names"]}
                for author in paper["authors"]
            ],
            "datePublished": str(paper["year"]),
            "identifier": paper["identifiers"][0]["value"],
        },
    }


def zenodo(citation: dict[str, Any]) -> dict[str, Any]:
    """Return the software as a deposit of Zenodo describes it; the paper is one that it is derived from.

    Args:
        citation: CITATION.cff.
    """
    paper = citation["preferred-citation"]["identifiers"][0]["value"]
    related = {"identifier": paper, "relation": "isDerivedFrom", "resource_type": "publication-conferencepaper"}
    return {
        "upload_type": "software",
        "title": citation["title"],
        "version": citation["version"],
        "description": citation["abstract"],
        "creators": [{"name": author["name"]} for author in citation["authors"]],
        "license": citation["license"],
        "access_right": "open",
        "keywords": citation["keywords"],
        "related_identifiers": [related],
    }


def metadata_texts(root: Path) -> dict[str, str]:
    """Return name -> text of both files.

    Args:
        root: Folder of CITATION.cff and pyproject.toml.
    """
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    found = {"codemeta.json": codemeta(citation, project), ".zenodo.json": zenodo(citation)}
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in found.items()}


def write_metadata(root: Path = Path()) -> None:
    """Write both files.

    Args:
        root: Folder of the repository.
    """
    for name, text in metadata_texts(root).items():
        write_text(root / name, text)
