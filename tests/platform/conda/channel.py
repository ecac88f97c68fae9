"""A local conda channel with what the env files take from conda: an interpreter and pip.

The interpreter is the one that runs the tests, by a link and a `pyvenv.cfg`: a prefix with site-packages of its own.
"""

import asyncio
import hashlib
import importlib.metadata
import json
import platform
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import rattler

LIBRARY = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
# Newer than the env files allow: a solver that ignored their pin would take it.
TOO_NEW = "3.12.0"


def build_channel(channel: Path) -> None:
    """Write packages of this interpreter, of a newer one without content, and of this environment's pip."""
    subdir = str(rattler.Subdir.current())
    with tempfile.TemporaryDirectory() as work:
        own = Path(work, "python")
        add_interpreter(own)
        write_package(channel, own, subdir, name="python", version=platform.python_version(), depends=[])
        newer = Path(work, "newer")
        newer.mkdir()
        write_package(channel, newer, subdir, name="python", version=TOO_NEW, depends=[])
        pip = Path(work, "pip")
        add_distribution(pip, "pip")
        link = {"noarch": {"type": "python", "entry_points": ["pip = pip._internal.cli.main:main"]}}
        version = importlib.metadata.version("pip")
        write_package(channel, pip, "noarch", name="pip", version=version, depends=["python >=3.11"], link=link)
    asyncio.run(rattler.index.index_fs(channel))


def add_interpreter(folder: Path) -> None:
    """Lay out bin/python and what makes the folder around it a prefix."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix, "bin", name).resolve()
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / name).symlink_to(base)
    for alias in ("python", "python3"):
        (folder / "bin" / alias).symlink_to(name)
    # Neither the interpreter's own site-packages nor the user's are seen.
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    packages = folder / LIBRARY / "site-packages"
    packages.mkdir(parents=True)
    (packages / "README.txt").write_text("Packages of this environment alone.\n")


def add_distribution(folder: Path, name: str) -> None:
    """Copy a distribution of this environment to where a noarch package has it."""
    found = importlib.metadata.distribution(name)
    for file in found.files or []:
        if ".." not in file.parts and file.suffix != ".pyc":
            target = folder / "site-packages" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(str(found.locate_file(file))).read_bytes())


def write_package(
    channel: Path,
    content: Path,
    subdir: str,
    *,
    name: str,
    version: str,
    depends: list[str],
    link: dict[str, Any] | None = None,
) -> None:
    """Write one package archive: the content of a folder, and the metadata that solver and linker read."""
    index = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": depends,
        "subdir": subdir,
        **({"noarch": "python"} if link else {}),
    }
    paths = sorted(path for path in content.rglob("*") if path.is_symlink() or path.is_file())
    metadata = {"index": index, "paths": {"paths_version": 1, "paths": [entry(content, path) for path in paths]}}
    if link:
        metadata["link"] = {"package_metadata_version": 1, **link}
    (content / "info").mkdir()
    for part, value in metadata.items():
        (content / "info" / f"{part}.json").write_text(json.dumps(value))
    (channel / subdir).mkdir(parents=True, exist_ok=True)
    with tarfile.open(channel / subdir / f"{name}-{version}-0.tar.bz2", "w:bz2", compresslevel=1) as archive:
        for path in sorted(content.iterdir()):
            archive.add(path, path.name)


def entry(content: Path, path: Path) -> dict[str, Any]:
    """Describe one path of a package."""
    data = b"" if path.is_symlink() else path.read_bytes()
    return {
        "_path": str(path.relative_to(content)),
        "path_type": "softlink" if path.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
