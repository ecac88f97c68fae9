"""A stand-in for conda: exactly the six calls that Snakemake makes, solved and linked by py-rattler.

    conda info --json | --version | config --get channel_priority --json
    conda env create --quiet --no-default-packages --file FILE --prefix PREFIX
    conda clean -y --tarballs [--packages] | list --explicit --prefix PREFIX

Its base prefix, named by $STANDIN_BASE, holds bin/conda, bin/activate and standin.json: the folder of the channel
that is served as conda-forge, and how the `pip:` section is filled:

    install  the env's own pip installs it, from wherever pip is configured to look
    link     it is linked from the environment that runs this program: the pinned distributions, whose versions must
             be the pinned ones, and what they require, recursively, and nothing else. Commands in bin/ are left out.
"""

import asyncio
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Snakemake asks the first three at every start, of every job; 24.7.1 is the oldest version that it takes.
SCRIPT = """#!/bin/sh
case "$*" in
  "info --json") echo '{info}' ;;
  --version) echo "conda 24.7.1" ;;
  "config --get channel_priority --json") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  *) STANDIN_BASE="{prefix}" exec "{python}" -I "{program}" "$@" ;;
esac
"""


class StandinError(Exception):
    """What a user of conda would read on standard error."""


@dataclass(frozen=True)
class Base:
    """The base prefix and its settings."""

    prefix: Path
    channel: Path
    pip: str

    @property
    def cache(self) -> Path:
        return self.prefix / "pkgs"


@dataclass(frozen=True)
class EnvFile:
    """An env file: packages of conda, and requirements of pip."""

    specs: list[str]
    requirements: list[str]


def write_base(prefix: Path, channel: Path, *, pip: str) -> Path:
    """Create a base prefix; return the folder to put on PATH."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "standin.json").write_text(json.dumps({"channel": str(channel), "pip": pip}))
    conda = prefix / "bin" / "conda"
    conda.write_text(
        SCRIPT.format(prefix=prefix, info=info(prefix), python=sys.executable, program=Path(__file__).resolve())
    )
    conda.chmod(0o755)
    # Sourced before each job, by bash.
    (prefix / "bin" / "activate").write_text('export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n')
    return prefix / "bin"


def read_base() -> Base:
    prefix = Path(os.environ["STANDIN_BASE"])
    settings = json.loads((prefix / "standin.json").read_text())
    return Base(prefix, Path(settings["channel"]), settings["pip"])


def read_env_file(path: Path) -> EnvFile:
    content = yaml.safe_load(path.read_text())
    if content["channels"] != ["conda-forge", "nodefaults"]:
        raise StandinError(f"{path}: channels are {content['channels']}, only conda-forge is served, without defaults")
    specs = [item for item in content["dependencies"] if isinstance(item, str)]
    nested = [item["pip"] for item in content["dependencies"] if isinstance(item, dict)]
    return EnvFile(specs, [line for lines in nested for line in lines])


# --- calls ----------------------------------------------------------------------------------------------------------


def info(prefix: Path) -> str:
    import rattler

    return json.dumps({"conda_prefix": str(prefix), "platform": str(rattler.Subdir.current())})


def create(base: Base, path: Path, prefix: Path) -> None:
    env = read_env_file(path)
    asyncio.run(install_packages(base, env.specs, prefix))
    if base.pip == "install":
        install_requirements(env.requirements, prefix)
    else:
        link_requirements(env.requirements, prefix)


def list_explicit(prefix: Path) -> None:
    print("@EXPLICIT")
    for record in sorted((prefix / "conda-meta").glob("*.json")):
        print(json.loads(record.read_text())["url"])


# --- conda packages -------------------------------------------------------------------------------------------------


async def install_packages(base: Base, specs: list[str], prefix: Path) -> None:
    """Solve on the local channel, then unpack into the cache and link into the prefix."""
    import rattler

    gateway = rattler.Gateway(cache_dir=base.cache / "repodata")
    detected = rattler.VirtualPackage.detect()
    wanted = [rattler.MatchSpec(spec, strict=False) for spec in specs]  # conda takes `=3.11.*`, strictly `3.11.*`
    records = await rattler.solve([base.channel.as_uri()], wanted, gateway=gateway, virtual_packages=detected)
    await rattler.install(records, prefix, cache_dir=base.cache, show_progress=False)


# --- pip packages ---------------------------------------------------------------------------------------------------


def install_requirements(requirements: list[str], prefix: Path) -> None:
    python = prefix / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*command, *requirements], cwd=prefix)
    if done.returncode != 0:
        raise StandinError(f"pip ended with {done.returncode} in {prefix}")


def link_requirements(requirements: list[str], prefix: Path) -> None:
    packages = next(prefix.glob("lib/python3.*/site-packages"))
    for distribution in required_distributions(requirements):
        link_distribution(distribution, packages)


def required_distributions(requirements: list[str]) -> list[importlib.metadata.Distribution]:
    """Return the distributions of this environment that pip would install: the required ones and what they require."""
    waiting = [(Requirement(line), "the env file") for line in requirements]
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, origin = waiting.pop()
        name = canonicalize_name(requirement.name)
        found[name] = matching_distribution(requirement, origin)
        for extra in {"", *requirement.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            waiting += [(needed, name) for needed in requirements_of(found[name], extra)]
    return list(found.values())


def matching_distribution(requirement: Requirement, origin: str) -> importlib.metadata.Distribution:
    try:
        distribution = importlib.metadata.distribution(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        raise StandinError(f"{origin} requires {requirement}, which {sys.prefix} does not have") from None
    if not requirement.specifier.contains(distribution.version, prereleases=True):
        raise StandinError(f"{origin} requires {requirement}, but {sys.prefix} has {distribution.version}")
    return distribution


def requirements_of(distribution: importlib.metadata.Distribution, extra: str) -> Iterator[Requirement]:
    """Yield what a distribution requires on this platform, with an extra or ("") without."""
    for line in distribution.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker.evaluate({"extra": extra}) if marker else not extra:
            yield requirement


def link_distribution(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    for file in distribution.files or []:
        if ".." not in file.parts:  # commands in bin/
            link(Path(str(distribution.locate_file(file))), packages / file)


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except FileExistsError:
        pass  # shared by two distributions
    except OSError:  # another file system
        target.symlink_to(source)


# --- command line ---------------------------------------------------------------------------------------------------


def main() -> None:
    base, words = read_base(), sys.argv[1:]
    match words:
        case ["env", "create", "--quiet", "--no-default-packages", "--file", file, "--prefix", prefix]:
            create(base, Path(file), Path(prefix))
        case ["clean", "-y", "--tarballs"] | ["clean", "-y", "--tarballs", "--packages"]:
            shutil.rmtree(base.cache, ignore_errors=True)
        case ["list", "--explicit", "--prefix", prefix]:
            list_explicit(Path(prefix))
        case _:
            raise StandinError(f"found {words}, expected a call that Snakemake makes")


if __name__ == "__main__":
    try:
        main()
    except StandinError as error:
        sys.exit(f"conda: {error}")
    # At the usual exit, threads that py-rattler leaves behind can abort the interpreter.
    sys.stdout.flush()
    os._exit(0)
