"""Files that survive: atomic writes, a content digest in every file, verification on read.

Layouts: safetensors for tensors, parquet for records, diffusers folders for weights.
Nothing here can execute what it reads.
"""

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from .errors import CorruptFileError, WeightsError

Provenance = Mapping[str, Any]
Module = TypeVar("Module", bound=nn.Module)

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
WEIGHTS_FILES = ("config.json", WEIGHTS_FILE, "provenance.json")
_KEY = "provenance"
_BLANK = b"0" * 64
_SEAL = re.compile(rb"whole_file_sha256.{1,4}?([0-9a-f]{64})", re.DOTALL)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as sorted, indented JSON."""
    write_text(path, _json_text(value))


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pixel_digest(*tensors: Tensor) -> str:
    """Return the SHA-256 of tensors' values: of the pixels, not of a file, whose header names the code that drew it."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def fingerprint(*parts: Any) -> str:
    """Return a short digest of JSON-serialisable ``parts``: the identity of a computation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], provenance: Provenance) -> None:
    """Write named tensors as safetensors, with provenance and a content digest in the header."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One metadata key: the header's key order is not stable across processes otherwise.
    header = {_KEY: _sealed(provenance, _tensor_digest(contiguous))}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(contiguous, temporary, metadata=header)


def read_tensors(path: Path, *names: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and provenance; raise ``CorruptFileError`` unless the digest matches and these tensors are there."""
    require_file(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            provenance = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a dict
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a tensor file ({error})") from error
    _check_digest(path, provenance, _tensor_digest(tensors))
    _require(path, "tensors", tensors, names)
    return tensors, provenance


def write_sealed_json(path: Path, value: Provenance) -> None:
    """Write a small record that later work relies on: sorted JSON with a digest over the rest."""
    write_json(path, {**value, "sha256": _seal(value, "")})


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Read what ``write_sealed_json`` wrote; raise ``CorruptFileError`` unless every byte is as it was written."""
    require_file(path)
    try:
        value = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise corrupt(path, f"cannot be read as a JSON record ({error})") from error
    _check_digest(path, value, "")
    if path.read_bytes() != _json_text(value).encode():
        raise corrupt(path, "was changed after it was written")
    return {key: found for key, found in value.items() if key != "sha256"}


def write_records(path: Path, frame: pd.DataFrame, provenance: Provenance) -> None:
    """Write per-image records as parquet, with provenance, and with a digest over every byte of the file."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    about = json.dumps(dict(provenance), sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: about})
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"whole_file_sha256": _BLANK})
    write_bytes(path, _sealed_bytes(buffer.getvalue()))


def read_records(path: Path, *columns: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read records and provenance; raise ``CorruptFileError`` unless the digest matches and these columns are there."""
    require_file(path)
    data = path.read_bytes()
    seal = _find_seal(data)
    if seal is None or _sealed_bytes(data) != data:  # before anything is parsed
        raise corrupt(path, "does not match the digest that it carries, or is no record file")
    try:
        table = pq.read_table(io.BytesIO(data))
        provenance = json.loads((table.schema.metadata or {})[_KEY.encode()])
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a record file ({error})") from error
    _require(path, "columns", table.column_names, columns)
    return table.to_pandas(), provenance


def require_sisters(shards: Sequence[tuple[Path, Provenance]]) -> None:
    """Raise ``CorruptFileError`` unless shards were written by one computation; names one that was not."""
    first, expected = shards[0]
    for path, provenance in shards[1:]:
        for key in sorted({*expected, *provenance} - {"sha256"}):
            if provenance.get(key) != expected.get(key):
                raise corrupt(
                    path, f"does not belong with {first}: {key} is {provenance.get(key)}, there {expected.get(key)}"
                )


def _require(path: Path, what: str, found: Iterable[str], expected: Sequence[str]) -> None:
    if not set(expected) <= set(found):
        raise corrupt(path, f"holds the {what} {', '.join(sorted(found))}; expected {', '.join(expected)}")


def _find_seal(data: bytes) -> slice | None:
    """Return where a parquet file holds its digest: at its end, behind the content."""
    found = None
    for found in _SEAL.finditer(data):  # noqa: B007 - the last one counts
        pass
    return slice(*found.span(1)) if found else None


def _sealed_bytes(data: bytes) -> bytes:
    """Return a parquet file with its digest: over the file in which the digest's place is blank."""
    place = _find_seal(data)
    assert place is not None
    head, tail = data[: place.start], data[place.stop :]
    return head + hashlib.sha256(head + _BLANK + tail).hexdigest().encode() + tail


def save_module(module: nn.Module, config: Mapping[str, Any], folder: Path, provenance: Provenance) -> None:
    """Write a diffusers-style weights folder; ``provenance.json``, written last, holds the files' SHA-256.

    Args:
        module: Its state is written as it is.
        config: Arguments of the module's constructor, JSON-serialisable.
        folder: Where ``config.json`` and the weights go.
        provenance: What the weights depend on.
    """
    write_json(folder / "config.json", dict(config))
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    write_bytes(folder / WEIGHTS_FILE, safetensors.torch.save(state, metadata={"format": "pt"}))
    write_weights_provenance(folder, provenance)


def write_weights_provenance(folder: Path, provenance: Provenance) -> None:
    """Write ``provenance.json``: what the weights depend on, the files' SHA-256, and a seal over the record itself."""
    digests = {file: sha256(folder / file) for file in WEIGHTS_FILES[:2]}
    record = {**provenance, "sha256": digests, "seal": _seal(provenance, json.dumps(digests))}
    write_json(folder / "provenance.json", record)


def load_module(make: Callable[[dict[str, Any]], Module], folder: Path) -> Module:
    """Build a module from ``config.json`` and load its weights; frozen, in eval mode.

    Raises:
        WeightsError: If a file is missing or the weights do not fit the configuration.
        CorruptFileError: If a file differs from the digest in ``provenance.json``.
    """
    read_weights_provenance(folder)
    try:
        module = make(json.loads((folder / "config.json").read_text()))
        module.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS_FILE), strict=True)
    except (RuntimeError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{folder}: the weights do not fit config.json ({error}).") from error
    module.requires_grad_(False).eval()
    return module


def read_weights_provenance(folder: Path) -> dict[str, Any]:
    """Return ``provenance.json`` of a weights folder after verifying the files it names."""
    for file in WEIGHTS_FILES:
        if not (folder / file).is_file():
            raise WeightsError(
                f"{folder}: {file} is missing. Run `make restore` to fetch the shipped weights, "
                "or set the source of this part (denoiser, segmentation, classification) to train."
            )
    try:
        provenance = json.loads((folder / "provenance.json").read_text())
        digests = {file: provenance["sha256"][file] for file in WEIGHTS_FILES[:2]}
        seal = provenance.pop("seal")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(folder / "provenance.json", f"is not a provenance record ({error})") from error
    if seal != _seal(provenance, json.dumps(digests)):
        raise corrupt(folder / "provenance.json", "was changed after it was written")
    for file, expected in digests.items():
        if sha256(folder / file) != expected:
            raise corrupt(folder / file, f"has another SHA-256 than provenance.json records ({expected})")
    return dict(provenance)


def install_weights(folder: Path, output: Path, expected: Provenance | None = None) -> None:
    """Verify a weights folder and copy it file by file.

    Args:
        folder: Where the weights are.
        output: Where they go.
        expected: What their provenance must say: of which data they are.

    Raises:
        WeightsError: If it says anything else.
    """
    provenance = read_weights_provenance(folder)
    for key, value in (expected or {}).items():
        if provenance.get(key) != value:
            raise WeightsError(
                f"{folder}: {key} is {provenance.get(key)}, but the configured data have {value}. "
                "Train these weights anew: --configfile config/train.yaml."
            )
    for name in WEIGHTS_FILES:
        write_bytes(output / name, (folder / name).read_bytes())


def require_file(path: Path) -> None:
    """Raise ``CorruptFileError`` unless ``path`` is a file with content."""
    if not path.is_file() or path.stat().st_size == 0:
        found = "an empty file" if path.is_file() else "nothing"
        raise corrupt(path, f"holds {found}, expected a file with content")


def corrupt(path: Path, what: str) -> CorruptFileError:
    """Return the error for an unusable file, with the way out."""
    return CorruptFileError(f"{path}: {what}. Delete it and run the same command again.")


def _sealed(provenance: Provenance, content_digest: str) -> str:
    """Return the header of a file: its provenance as JSON, with a digest over that and the content."""
    return json.dumps({**provenance, "sha256": _seal(provenance, content_digest)}, sort_keys=True)


def _seal(provenance: Provenance, content_digest: str) -> str:
    about = json.dumps({key: value for key, value in provenance.items() if key != "sha256"}, sort_keys=True)
    return hashlib.sha256(f"{about}{content_digest}".encode()).hexdigest()


def _check_digest(path: Path, provenance: Provenance, content_digest: str) -> None:
    found = _seal(provenance, content_digest)
    if provenance.get("sha256") != found:
        raise corrupt(path, f"has digest {found}, expected {provenance.get('sha256')}")


def _tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name}:{array.dtype}:{tuple(array.shape)};".encode())
        digest.update(np.ascontiguousarray(_bits(array)).data)
    return digest.hexdigest()


def _bits(tensor: Tensor) -> np.ndarray[Any, Any]:
    flat = tensor.reshape(-1)
    return (flat.view(torch.uint8) if flat.numel() else flat.to(torch.uint8)).numpy()
