"""What is stored in DVC, and what Snakemake recorded of it: one file in Git, which every clone adopts.

DVC keeps the folders and files named in ``STORED`` at their final place. Without Snakemake's records, a clone knows
neither the parameters nor the inputs that products were made with. ``results/records.json`` therefore holds, of every
product of a finished run, what decides whether it is made again: its inputs with their SHA-256, and its parameters,
each text once. The Snakefile gives these records to Snakemake, for products that are absent (not stored, for being
large and quickly made again) or have exactly the recorded bytes.

``.snakemake/metadata/`` itself is no file for Git: every run rewrites it. The standard library alone, since every
snakemake call imports this.
"""

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import FewshotError
from ..storage.files import sha256

Record = dict[str, Any]

STORED = (
    "denoiser", "stable_diffusion", "baselines", "images/shots.parquet", "judges/judge",
    "attributes/heads/exact", "attributes/heads/readout", "masks/segmenters", "masks/controlnets", "classes/generator",
)  # fmt: skip
"""Below ``results/<data set>/``: weights that train for long, and what steers attributes with what it learned from."""

RECORDS = Path("results/records.json")
METADATA = Path(".snakemake/metadata")
FORMAT = 6  # Snakemake's, of its records
_DENSE = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


class StoreError(FewshotError):
    """Products cannot be stored as they are, or the file of their records cannot be used."""


def stored_paths(results: Path) -> list[Path]:
    """Return what DVC stores of one data set and is there."""
    return [path for name in STORED if (path := results / name).exists()]


def planned_products(summary: str) -> list[str]:
    """Return the products that ``snakemake --summary`` lists.

    Raises:
        StoreError: If it lists none, or one that would be made now.
    """
    rows = [line.split("\t") for line in summary.splitlines() if line.count("\t") == 5]
    found = {row[0]: row[-1] for row in rows if row[0] != "output_file"}
    if not found:
        raise StoreError("`snakemake --summary` lists no product. Run it by hand to see why.")
    if stale := [product for product, plan in found.items() if plan != "no update"]:
        raise StoreError(
            f"{len(stale)} of {len(found)} products are missing or stale, first {stale[0]}. "
            "Run `snakemake --cores all`, then store again."
        )
    return sorted(found)


def write_records(products: Iterable[str], records: Path = RECORDS) -> None:
    """Write what Snakemake recorded of some products; the same products give the same bytes.

    Raises:
        StoreError: If a product has no record, was made from other files than there are, or on paths of this machine.
    """
    made = {product: _finished_record(product) for product in products}
    digests = _digests(made)
    texts = sorted({text for record in made.values() for text in record["params"]})
    files, params = ({name: number for number, name in enumerate(names)} for names in (digests, texts))
    entries = [
        [files[name], record["rule"], [files[read] for read in record["input"]], [params[x] for x in record["params"]]]
        for name, record in sorted(made.items())
    ]
    lines = {"files": list(digests.items()), "params": texts, "products": entries}
    blocks = [f'"{key}": [\n' + ",\n".join(map(_DENSE, values)) + "\n]" for key, values in lines.items()]
    _replace(records, "{\n" + ",\n".join(blocks) + "\n}\n")


def read_records(records: Path = RECORDS) -> dict[str, tuple[str | None, Record]]:
    """Return product -> its SHA-256 (None if it was not there) and Snakemake's record; nothing if nothing was stored.

    Raises:
        StoreError: If the file is not what ``write_records`` writes.
    """
    if not records.is_file():
        return {}
    try:
        content = json.loads(records.read_text())
        files, params = content["files"], content["params"]
        return {
            files[i][0]: (files[i][1], _record(files[i][0], rule, [files[j] for j in read], [params[j] for j in given]))
            for i, rule, read, given in content["products"]
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(f"{records}: cannot be read ({error}). Run `git checkout -- {records}`.") from error


def adopt_records(records: Path = RECORDS) -> list[str]:
    """Give Snakemake the records of products that are absent or have exactly the recorded bytes.

    A record of one's own run stays, as long as its file is the one that the run left: it says what was done here.

    Returns:
        The products whose record was written.
    """
    wanted = [
        (product, record)
        for product, (digest, record) in read_records(records).items()
        if _is_wanted(product, record) and (not Path(product).exists() or digest == sha256(Path(product)))
    ]
    for product, record in wanted:
        _replace(record_path(product), json.dumps(record))
    return [product for product, _ in wanted]


def record_path(product: str) -> Path:
    """Return where Snakemake keeps its record of a file: the path in base64, in pieces that are valid names."""
    if not METADATA.is_dir():
        # Alone, it would be taken for the folder of an old Snakemake.
        METADATA.with_name("incomplete").mkdir(parents=True, exist_ok=True)
        METADATA.mkdir(exist_ok=True)
    name = urlsafe_b64encode(product.encode()).decode()
    length = os.pathconf(METADATA, "PC_NAME_MAX") - 1
    pieces = [name[start : start + length] for start in range(0, len(name), length)]
    return METADATA.joinpath(*(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def _finished_record(product: str) -> Record:
    record = _own_record(product)
    if record is None or record.get("incomplete"):
        raise StoreError(f"{product}: Snakemake has no complete record of it. Delete it, run `snakemake`, store again.")
    local = [str(path) for path in (Path.cwd(), Path.home()) if f"{path}/" in "".join(record["params"])]
    if local := [*local, *filter(os.path.isabs, record["input"])]:
        raise StoreError(f"{product}: was made with {local[0]}, a path of this machine. Name files relative to here.")
    return record


def _own_record(product: str) -> Record | None:
    try:
        return dict(json.loads(record_path(product).read_text()))
    except (OSError, ValueError):
        return None


def _is_wanted(product: str, record: Record) -> bool:
    own = _own_record(product)
    if own is None:
        return True
    replaced = Path(product).exists() and Path(product).stat().st_mtime != own.get("endtime")
    return own != record and (own.get("starttime") == 0 or replaced)


def _record(product: str, rule: str, inputs: list[list[str]], params: list[str]) -> Record:
    """Return what Snakemake reads to decide whether a product is made again, and for its report."""
    job = int(hashlib.sha256(json.dumps([product, rule]).encode()).hexdigest()[:12], 16)
    read, checksums = [name for name, _ in inputs], {name: f"sha256:{digest}" for name, digest in inputs if digest}
    times = {"starttime": 0.0, "endtime": 0.0, "job_hash": job, "incomplete": False}  # at 0, no job of one's own starts
    made = {"rule": rule, "input": read, "params": params, "input_checksums": checksums}
    return {"record_format_version": FORMAT, **made, **times}


def _digests(made: Mapping[str, Record]) -> dict[str, str | None]:
    """Return the SHA-256 of every product and every input, None where it is not known: not there and never read."""
    found: dict[str, str | None] = dict.fromkeys(
        [*made, *(name for record in made.values() for name in record["input"])]
    )
    for record in made.values():
        found |= {name: checksum.removeprefix("sha256:") for name, checksum in record["input_checksums"].items()}
    for name, read in found.items():
        if Path(name).is_file():
            found[name] = sha256(Path(name))
            if read not in (None, found[name]):
                raise StoreError(f"{name}: products were made from another file of this name. Run `snakemake`.")
    return dict(sorted(found.items()))


def _replace(path: Path, text: str) -> None:
    """Write atomically: what is at work in another process sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name[-40:]}")
    temporary.write_text(text)
    temporary.replace(path)
