"""The safetensors files of a model, read and written as bytes, without loading the model."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from studio.core.errors import ModelUnusable
from studio.core.files import get_file_error
from studio.core.weights.header import Header, read_headers

BLOCK_BYTES = 32 << 20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_REMEDY = "The files may be damaged or incomplete: copy or download the model again."


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file: ``begin`` and ``end`` are byte positions in the whole file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    begin: int
    end: int

    @property
    def byte_count(self) -> int:
        """The size of the values."""
        return self.end - self.begin

    @property
    def is_plain(self) -> bool:
        """Whether the values are floating-point numbers of 16 to 64 bits."""
        return self.dtype in _DTYPES


@dataclass(frozen=True)
class Update:
    """``scaling * left @ right``, to be added to a stored plain matrix; rank in the middle."""

    left: torch.Tensor
    right: torch.Tensor
    scaling: float


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to write under ``name``: a copy of ``source``, plus ``update`` if there is one."""

    name: str
    source: StoredTensor
    update: Update | None = None


def read_shards(folder: Path) -> dict[str, list[StoredTensor]]:
    """Returns the tensors of each weights file of the model in ``folder``, in file order.

    Raises:
        ModelUnusable: The index or a header is broken, or a file is missing.
        FileUnusable: A file cannot be read.
    """
    return {header.path.name: _locate_tensors(header) for header in read_headers(folder)}


def read_tensor(source: StoredTensor) -> torch.Tensor:
    """Returns the whole of one floating-point tensor.

    Raises:
        ModelUnusable: It is stored in another kind of number, or the file is too short.
        FileUnusable: The file cannot be read.
    """
    if not source.is_plain:
        raise ModelUnusable(f"{source.name} is stored as {source.dtype}.", _REMEDY)
    try:
        with source.path.open("rb") as stream:
            stream.seek(source.begin)
            block = _read(stream, source.byte_count, source)
    except OSError as error:
        raise get_file_error(source.path, error, "read") from error
    return torch.frombuffer(block, dtype=_DTYPES[source.dtype]).reshape(source.shape)


def write_shard(path: Path, tensors: Iterable[PlannedTensor]) -> Iterator[int]:
    """Writes ``tensors`` into a new file at ``path``; yields how many bytes each write added.

    Memory use is a few blocks of 32 MiB, whatever the size of a tensor.

    Raises:
        ModelUnusable: New values are too large for the format, or a source file is too short.
    """
    planned = list(tensors)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for tensor in planned:
        source = tensor.source
        header[tensor.name] = {
            "dtype": source.dtype,
            "shape": list(source.shape),
            "data_offsets": [position, position + source.byte_count],
        }
        position += source.byte_count
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("xb") as output:
        output.write(struct.pack("<Q", len(text)) + text)
        for tensor in planned:
            with tensor.source.path.open("rb") as stream:
                stream.seek(tensor.source.begin)
                yield from _write_tensor(stream, output, tensor)


def _write_tensor(stream: BinaryIO, output: BinaryIO, tensor: PlannedTensor) -> Iterator[int]:
    source, update = tensor.source, tensor.update
    if update is None:
        for position in range(0, source.byte_count, BLOCK_BYTES):
            yield output.write(
                _read(stream, min(BLOCK_BYTES, source.byte_count - position), source)
            )
        return
    dtype = _DTYPES[source.dtype]
    rows, columns = source.shape
    step = max(1, BLOCK_BYTES // (4 * max(1, columns)))
    for row in range(0, rows, step):
        last = min(rows, row + step)
        block = _read(stream, (last - row) * columns * dtype.itemsize, source)
        yield output.write(_add(block, dtype, update, slice(row, last), source.name))


def _add(
    block: bytearray, dtype: torch.dtype, update: Update, rows: slice, name: str
) -> memoryview:
    """Returns the rows plus their part of the update: added in fp32, rounded once."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    weight = torch.frombuffer(block, dtype=dtype).to(exact)
    weight = weight.reshape(-1, update.right.shape[1])
    weight.addmm_(update.left[rows].to(exact), update.right.to(exact), alpha=update.scaling)
    merged = weight.to(dtype)
    if not torch.isfinite(merged).all():
        raise ModelUnusable(
            f"{name} plus the adapter is too large for the number format of the base ({dtype}).",
            "Choose an earlier checkpoint of the adapter, or a base model stored in bfloat16.",
        )
    return merged.view(torch.uint8).numpy().data


def _read(stream: BinaryIO, count: int, source: StoredTensor) -> bytearray:
    block = bytearray(count)
    if stream.readinto(block) != count:  # type: ignore[attr-defined]  # typeshed's BinaryIO lacks it
        raise ModelUnusable(f"{source.path} ended in the middle of {source.name}.", _REMEDY)
    return block


def _locate_tensors(header: Header) -> list[StoredTensor]:
    entries = sorted(header.tensors, key=lambda entry: entry.start)
    # A checked header has no bytes behind its last tensor, so that the data ends with the file.
    begin = header.file_bytes - max((entry.end for entry in entries), default=0)
    return [
        StoredTensor(
            entry.name,
            entry.dtype,
            entry.shape,
            header.path,
            begin + entry.start,
            begin + entry.end,
        )
        for entry in entries
    ]
