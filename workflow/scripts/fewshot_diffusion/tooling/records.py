"""What Snakemake recorded about the stored products: one file in git, adopted by every clone.

``dvc pull`` brings products; without Snakemake's records of them, a clone knows neither the parameters nor the inputs
that they were made with. The records of a stored run therefore lie in ``results/stored.json``, beside each product's
SHA-256, and the Snakefile copies into ``.snakemake/metadata/`` those whose product has exactly these bytes. Products
that are left out of the store have a record and no digest: without it, Snakemake would take their inputs, younger for
having just been pulled, for new ones, and make them again.
Why not track ``.snakemake/metadata/`` itself: every run rewrites it, so that a redrawn figure would show up in
`git status` or, were it an output of DVC, make the next `dvc pull` refuse.

The standard library alone, since every snakemake call imports this.
"""

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import FewshotError

Record = dict[str, Any]


STORED = Path("results/stored.json")


METADATA = Path(".snakemake/metadata")


class StoreError(FewshotError):
    """Products cannot be stored as they are, or a record of stored products cannot be used."""


def record_path(product: str, metadata: Path) -> Path:
    """Return where Snakemake keeps its record of a file: the path in base64, in pieces that are valid names."""
    name = urlsafe_b64encode(product.encode()).decode()
    length = os.pathconf(metadata, "PC_NAME_MAX") - 1
    pieces = [name[start : start + length] for start in range(0, len(name), length)]
    return metadata.joinpath(*(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def read_record(product: str, metadata: Path) -> Record | None:
    """Return Snakemake's record of a file, or None if there is none that can be read."""
    try:
        record = json.loads(record_path(product, metadata).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def recorded_products(metadata: Path) -> list[str]:
    """Return the files that Snakemake has a record of: ``record_path`` the other way round."""
    products = []
    for path in filter(Path.is_file, metadata.rglob("[!.]*")):
        pieces = path.relative_to(metadata).parts
        try:
            products.append(urlsafe_b64decode("".join(piece.removeprefix("@") for piece in pieces)).decode())
        except ValueError:  # no record
            continue
    return sorted(products)


def normalised(record: Mapping[str, Any]) -> Record:
    """Return a record without what differs between two equal runs: times, and the job's hash of this process.

    Outputs of one job keep a common job hash, since the report joins them by it. The environment's text goes too: the
    repository has it, and a digest of it is among the parameters.
    """
    job = json.dumps([record["rule"], record["log"], record["shellcmd"]])
    job_hash = int(hashlib.sha256(job.encode()).hexdigest()[:12], 16)
    fixed = {"starttime": 0.0, "endtime": 0.0, "job_hash": job_hash, "external_jobid": None, "conda_env": None}
    return {**record, **fixed}


def was_adopted(record: Mapping[str, Any]) -> bool:
    """Whether a record came from ``results/stored.json``: no job that ran here started at time 0."""
    return record.get("starttime") == 0.0


def stored_entry(product: str, metadata: Path, left_out: bool = False) -> dict[str, Any]:
    """Return what is kept of a product: its normalised record and, unless it is left out, its SHA-256.

    Raises:
        StoreError: If there is no record, or one that holds only on this machine.
    """
    record = read_record(product, metadata)
    if record is None or record.get("incomplete"):
        raise StoreError(
            f"{product}: {metadata} has no complete record of it. Delete it, run `snakemake --cores all`, store again."
        )
    _require_relative(product, record)
    return {"sha256": None if left_out else file_sha256(Path(product)), "record": normalised(record)}


def write_stored(
    products: Sequence[str], left_out: Sequence[str] = (), stored: Path = STORED, metadata: Path = METADATA
) -> None:
    """Write the file of records and digests of some products; the same products give the same bytes."""
    entries = {product: stored_entry(product, metadata) for product in products}
    entries |= {product: stored_entry(product, metadata, left_out=True) for product in left_out}
    _replace(stored, json.dumps(entries, indent=1, sort_keys=True) + "\n")


def read_stored(stored: Path = STORED) -> dict[str, dict[str, Any]]:
    """Return product -> its SHA-256 (None if it is left out) and record; nothing if nothing was stored.

    Raises:
        StoreError: If the file is not what ``write_stored`` writes.
    """
    if not stored.is_file():
        return {}
    try:
        entries = json.loads(stored.read_text())
        return {product: {"sha256": e["sha256"], "record": dict(e["record"])} for product, e in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{stored}: is not a file of stored records ({error}). Run `git checkout -- {stored}`."
        ) from error


def adopt(stored: Path = STORED, metadata: Path = METADATA, renew: bool = False) -> list[str]:
    """Give Snakemake the stored record of every product that has exactly the stored bytes.

    A record of a run of one's own stays: it says what was done here, and replacing it would make a job whose code was
    edited without effect run again and again.

    Args:
        stored: File of records and digests.
        metadata: Snakemake's folder of records.
        renew: Replace records of own runs too.

    Returns:
        The products whose record was written.
    """
    entries = read_stored(stored)
    if entries:
        metadata.mkdir(parents=True, exist_ok=True)
    wanted = [product for product, entry in entries.items() if _wants(product, entry["record"], metadata, renew)]
    found = [product for product in wanted if _has_bytes(Path(product), entries[product]["sha256"])]
    for product in found:
        _replace(record_path(product, metadata), json.dumps(entries[product]["record"]))
    return found


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wants(product: str, record: Record, metadata: Path, renew: bool) -> bool:
    present = read_record(product, metadata)
    return present is None or (present != record and (renew or was_adopted(present)))


def _has_bytes(path: Path, digest: str | None) -> bool:
    return digest is None or (path.is_file() and file_sha256(path) == digest)


def _require_relative(product: str, record: Record) -> None:
    text = json.dumps({**record, "conda_env": None})
    local = [path for path in record["input"] if os.path.isabs(path)]
    local += [str(path) for path in (Path.cwd(), Path.home()) if len(path.parts) > 2 and f"{path}/" in text]
    if local:
        raise StoreError(
            f"{product}: was made with {local[0]}, which is a path of this machine. "
            "Name files relative to the repository, make it again, store again."
        )


def _replace(path: Path, text: str) -> None:
    """Write atomically: what is at work in another process sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name[-40:]}")
    temporary.write_text(text)
    temporary.replace(path)
