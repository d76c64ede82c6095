"""The table of contents of safetensors files: names, shapes, formats; no weights are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from studio.core.errors import ModelUnusable
from studio.core.files import get_file_error

MAX_HEADER_BYTES = 100_000_000
MAX_TENSORS = 200_000
MAX_INDEX_BYTES = 50_000_000
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file; ``start`` and ``end`` count bytes from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def parameters(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """The space the values take in the file."""
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    """The table of contents of one file."""

    path: Path
    tensors: tuple[TensorEntry, ...]
    metadata: Mapping[str, str]
    file_bytes: int


def read_header(path: Path) -> Header:
    """Return the table of contents of a safetensors file, checked against the format's rules.

    Raises:
        ModelUnusable: The file is no safetensors file, cut off, or contradicts itself.
        FileUnusable: The file cannot be read.

    Source: safetensors format description (8-byte little-endian header length, JSON, data without
    holes or overlaps).
    """
    try:
        file_bytes = path.stat().st_size
        with path.open("rb") as stream:
            text = _read_header_text(stream, path, file_bytes)
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    return parse_header(path, text, file_bytes)


def parse_header(path: Path, text: bytes, file_bytes: int) -> Header:
    """Return a table of contents given as its JSON text, checked as ``read_header`` does.

    ``path`` names the file in what people read; ``file_bytes`` is its whole size.

    Raises:
        ModelUnusable: It contradicts the format or itself.
    """
    try:
        content = json.loads(text, object_pairs_hook=_refuse_repeated)
    except (ValueError, RecursionError) as error:
        raise _broken(path, "its table of contents is not valid") from error
    if not isinstance(content, dict):
        raise _broken(path, "its table of contents is not valid")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _broken(path, "its notes are not valid")
    if len(content) > MAX_TENSORS:
        raise _broken(path, f"it lists more than {MAX_TENSORS:,} tensors")
    tensors = tuple(_build_entry(path, name, entry) for name, entry in content.items())
    _check_layout(path, tensors, file_bytes - 8 - len(text))
    return Header(path, tensors, metadata, file_bytes)


def get_header_size(start: bytes, path: Path, file_bytes: int) -> int:
    """Return the length of the JSON text that follows the first 8 bytes of a file.

    Raises:
        ModelUnusable: No safetensors file begins so, or the file is cut off.
    """
    length = int.from_bytes(start[:8], "little")
    if start.startswith(b"version "):
        raise ModelUnusable(
            f"{path} is only a pointer to the real file (Git LFS).",
            "Run 'git lfs pull' in the folder, or download the model again.",
        )
    if len(start) < 8 or length > MAX_HEADER_BYTES or length < 2:
        raise _broken(path, "it does not start as a safetensors file does")
    if 8 + length > file_bytes:
        raise _broken(path, "it is cut off")
    return length


def read_headers(folder: Path) -> tuple[Header, ...]:
    """Return the tables of contents of a model folder: one file, or the shards of its index.

    Raises:
        ModelUnusable: A file is missing or broken, or the index does not fit the files.
        FileUnusable: A file cannot be read.
    """
    single = folder / SINGLE_FILE
    if single.is_file():
        return (read_header(single),)
    path = folder / INDEX_FILE
    shards = parse_index(path, read_json(path, MAX_INDEX_BYTES))
    headers = []
    for name, tensors in shards.items():
        path = folder / name
        if not path.is_file():
            raise ModelUnusable(
                f"{folder} is not complete: the file {name} is missing.",
                "Download the model again, or copy the missing file into the folder.",
            )
        header = read_header(path)
        check_promised(header, tensors)
        headers.append(header)
    return tuple(headers)


def read_json(path: Path, max_bytes: int) -> dict[str, Any]:
    """Return the mapping in a small JSON file of a model folder.

    Raises:
        ModelUnusable: It is larger than ``max_bytes``, no JSON, or no mapping.
        FileUnusable: It cannot be read.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise ModelUnusable(
                f"{path} is unusually large.", "Choose another folder, or download it again."
            )
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, "it is not valid JSON") from error
    if not isinstance(content, dict):
        raise _broken(path, "it is not a JSON object")
    return content


def _read_header_text(stream: BinaryIO, path: Path, file_bytes: int) -> bytes:
    text = stream.read(get_header_size(stream.read(8), path, file_bytes))
    if not text.startswith(b"{"):
        raise _broken(path, "it does not start as a safetensors file does")
    return text


def _build_entry(path: Path, name: str, entry: object) -> TensorEntry:
    if not isinstance(entry, dict):
        raise _broken(path, f"the entry of {name:.80} is not valid")
    dtype = entry.get("dtype")
    shape, offsets = _get_counts(entry.get("shape")), _get_counts(entry.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2:
        raise _broken(path, f"the entry of {name:.80} is not valid")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _broken(path, f"{name:.80} has the unknown number format {dtype!r:.20}")
    tensor = TensorEntry(name, dtype, shape, offsets[0], offsets[1])
    if tensor.parameters * _BITS[dtype] != tensor.size_bytes * 8:
        raise _broken(path, f"shape and size of {name:.80} contradict each other")
    return tensor


def _get_counts(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value):
        return tuple(value)
    return None


def _check_layout(path: Path, tensors: tuple[TensorEntry, ...], data_bytes: int) -> None:
    position = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != position:
            raise _broken(path, f"{tensor.name:.80} does not lie where the one before it ends")
        position = tensor.end
    if position > data_bytes:
        raise _broken(path, "it is cut off")
    if position < data_bytes:
        raise _broken(path, "it holds bytes that belong to no tensor")


def check_promised(header: Header, tensors: set[str]) -> None:
    """Compares a shard with what the index of the model says of it.

    Raises:
        ModelUnusable: A tensor is missing.
    """
    lost = tensors - {tensor.name for tensor in header.tensors}
    if lost:
        raise ModelUnusable(
            f"{header.path} does not hold {min(lost)}, which the index of the model promises.",
            "The files do not belong together. Download the model again.",
        )


def parse_index(path: Path, index: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return which tensors each shard holds, by file name.

    Raises:
        ModelUnusable: The index is not valid, or names files elsewhere.
    """
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _broken(path, "it names no files")
    shards: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():
        # A name from outside becomes a path: it must stay inside the folder.
        if (
            not isinstance(name, str)
            or not name.endswith(".safetensors")
            or set(name) & set("/\\:")
        ):
            raise _broken(path, f"it names {name!r:.80}, which is no safetensors file beside it")
        shards.setdefault(name, set()).add(tensor)
    return dict(sorted(shards.items()))


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name is there twice")
    return content


def _broken(path: Path, why: str) -> ModelUnusable:
    return ModelUnusable(
        f"{path} cannot be used: {why}.",
        "The file is damaged or was not made by safetensors. Download or copy it again.",
    )
