"""The safetensors files of a model, read and written as bytes, without loading the model."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from studio.core.errors import ModelUnusable
from studio.core.files import get_file_error
from studio.core.weights.header import Header, read_headers, read_json
from studio.core.weights.layers import MAX_CONFIG_BYTES
from studio.engine.export.changes import Change
from studio.engine.models.stored_format import StoredWeight, find_stored_weights

BLOCK_BYTES = 32 << 20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
# The first numbers that round to infinity.
_LIMITS = {
    torch.float64: float("inf"),
    torch.float32: float("inf"),
    torch.float16: 65520.0,
    torch.bfloat16: 2.0**128 * (1 - 2.0**-9),
}
# Of values in fp32; what is computed on them in turn finds them in the processor's cache.
_CACHE_BYTES = 4 << 20
_CANNOT_COPY = {
    getattr(errno, name)
    for name in ("EXDEV", "ENOSYS", "EINVAL", "EOPNOTSUPP", "EPERM", "ETXTBSY", "EBADF")
    if hasattr(errno, name)
}
_REMEDY = "The files may be damaged or incomplete: copy or download the model again."


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file: ``begin`` and ``end`` are byte positions in the whole file.

    A weight that the file holds in few bits (``packed``) counts as the one that it unfolds to: of
    that format and shape, and ``end`` is its size.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    begin: int
    end: int
    packed: StoredWeight | None = None

    @property
    def byte_count(self) -> int:
        """The size of the values."""
        return self.end - self.begin

    @property
    def is_plain(self) -> bool:
        """Whether the values are floating-point numbers of 16 to 64 bits."""
        return self.dtype in _DTYPES


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to write under ``name``: a copy of ``source``, or what ``change`` makes of it."""

    name: str
    source: StoredTensor
    change: Change | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The new shape: some changes add rows."""
        extra = getattr(self.change, "extra_rows", 0)
        return (
            (self.source.shape[0] + extra, *self.source.shape[1:]) if extra else self.source.shape
        )

    @property
    def byte_count(self) -> int:
        """The size of the new values."""
        count = torch.Size(self.source.shape).numel()
        return self.source.byte_count * torch.Size(self.shape).numel() // max(1, count)


def read_shards(folder: Path) -> dict[str, list[StoredTensor]]:
    """Returns the tensors of each weights file of the model in ``folder``, in file order.

    Weights in few bits are listed as what they unfold to.

    Raises:
        ModelUnusable: The index or a header is broken, or a file is missing.
        FileUnusable: A file cannot be read.
    """
    shards = {header.path.name: _locate_tensors(header) for header in read_headers(folder)}
    config = read_json(folder / "config.json", MAX_CONFIG_BYTES)
    packed = find_stored_weights(folder, config)
    if not packed:
        return shards
    parts = {f"{one.module}.{part}" for one in packed.values() for part in one.parts}
    plain = [one for shard in shards.values() for one in shard if one.name not in parts]
    dtype = _find_dtype(config, plain)
    unpacked = {
        file: [
            _unpack(tensor, packed[tensor.name], dtype) if tensor.name in packed else tensor
            for tensor in shard
            if tensor.name in packed or tensor.name not in parts
        ]
        for file, shard in shards.items()
    }
    return {file: shard for file, shard in unpacked.items() if shard}


def read_tensor(source: StoredTensor) -> torch.Tensor:
    """Returns the whole of one floating-point tensor.

    Raises:
        ModelUnusable: It is stored in another kind of number, or the file is too short.
        FileUnusable: The file cannot be read.
    """
    if not source.is_plain:
        raise ModelUnusable(f"{source.name} is stored as {source.dtype}.", _REMEDY)
    if source.packed is not None:
        return _unfold(source.packed).to(_DTYPES[source.dtype])
    try:
        with source.path.open("rb") as stream:
            stream.seek(source.begin)
            block = stream.read(source.byte_count)
    except OSError as error:
        raise get_file_error(source.path, error, "read") from error
    if len(block) != source.byte_count:
        raise _describe_end(source)
    return torch.frombuffer(bytearray(block), dtype=_DTYPES[source.dtype]).reshape(source.shape)


class Room:
    """Memory that the blocks of all tensors use in turn: new memory costs more than the sums.

    What is computed in it is gone with the next block.
    """

    def __init__(self) -> None:
        self._raw = torch.empty(0, dtype=torch.uint8)
        self._exact = torch.empty(0)

    def take(self, dtype: torch.dtype, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns places for ``count`` values in ``dtype``, and in fp32 (or fp64) to compute in."""
        size = count * dtype.itemsize
        if len(self._raw) < size:
            self._raw = torch.empty(size, dtype=torch.uint8)
        stored = self._raw[:size].view(dtype)
        if dtype.itemsize >= torch.float32.itemsize:
            return stored, stored
        if len(self._exact) < count:
            self._exact = torch.empty(count)
        return stored, self._exact[:count]


def iter_new_rows(
    tensor: PlannedTensor, multiple: int = 1, room: Room | None = None
) -> Iterator[torch.Tensor]:
    """Yields the new values of ``tensor`` as blocks of rows ``(rows, columns)``, fp32 or fp64.

    A tensor with one dimension is one row; each block but the last has a multiple of ``multiple``
    rows. Memory use is a few blocks. With a ``room`` each block lies where the one before did.

    Raises:
        ModelUnusable: It is stored in another kind of number, or the file is too short.
        FileUnusable: The file cannot be read.
    """
    source, change = tensor.source, tensor.change
    if not source.is_plain:
        raise ModelUnusable(
            f"{source.name} is stored as {source.dtype}, not as 16- or 32-bit numbers.",
            "Choose the folder of the original model, before it was quantised.",
        )
    rows = source.shape[0] if len(source.shape) > 1 or change is not None else 1
    columns = torch.Size(source.shape).numel() // max(1, rows)
    try:
        with source.path.open("rb") as stream:
            stream.seek(source.begin)
            if change is not None and change.needs_measuring:
                for block, _, weight in _iter_rows(stream, source, columns, 1, Room()):
                    change.measure(block, weight)
                stream.seek(source.begin)
            for block, _, weight in _iter_rows(stream, source, columns, multiple, room):
                yield weight if change is None else change.apply(block, weight)
    except OSError as error:
        raise get_file_error(source.path, error, "read") from error


def write_shard(path: Path, tensors: Iterable[PlannedTensor]) -> Iterator[int]:
    """Writes ``tensors`` into a new file at ``path``; yields how many bytes each write added.

    Memory use is a few blocks, whatever the size of a tensor.

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
            "shape": list(tensor.shape),
            "data_offsets": [position, position + tensor.byte_count],
        }
        position += tensor.byte_count
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    room = Room()
    with path.open("xb") as output:
        output.write(struct.pack("<Q", len(text)) + text)
        for tensor in planned:
            with tensor.source.path.open("rb") as stream:
                yield from _write_tensor(stream, output, tensor, room)


def _write_tensor(
    stream: BinaryIO, output: BinaryIO, tensor: PlannedTensor, room: Room
) -> Iterator[int]:
    source, change = tensor.source, tensor.change
    if change is None and source.packed is not None:
        for _, stored, weight in _iter_rows(stream, source, source.shape[-1], 1, room):
            yield output.write(_round(weight, stored, source.name))
        return
    if change is None:
        yield from _copy(stream, output, source)
        return
    columns = change.shape[1]
    stream.seek(source.begin)
    if change.needs_measuring:
        for rows, _, weight in _iter_rows(stream, source, columns, 1, room):
            change.measure(rows, weight)
            yield 0
        stream.seek(source.begin)
    for rows, stored, weight in _iter_rows(stream, source, columns, 1, room):
        yield output.write(_round(change.apply(rows, weight), stored, source.name))


def _copy(stream: BinaryIO, output: BinaryIO, source: StoredTensor) -> Iterator[int]:
    """Copies the bytes of a tensor inside the system where it can do that, else by hand."""
    position = source.begin
    output.flush()
    copy_range = getattr(os, "copy_file_range", None)
    while copy_range is not None and position < source.end:
        count = min(BLOCK_BYTES, source.end - position)
        try:
            copied = copy_range(stream.fileno(), output.fileno(), count, position)
        except OSError as error:
            if error.errno in _CANNOT_COPY:
                break  # between these two drives, or not at all
            raise
        if copied == 0:
            raise _describe_end(source)
        position += copied
        yield copied
    output.seek(0, os.SEEK_END)
    stream.seek(position)
    while position < source.end:
        block = stream.read(min(BLOCK_BYTES, source.end - position))
        if not block:
            raise _describe_end(source)
        position += len(block)
        yield output.write(block)


def _iter_rows(
    stream: BinaryIO, source: StoredTensor, columns: int, multiple: int, room: Room | None
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Yields the tensor as blocks of whole rows: which ones, as they are stored, and in fp32.

    The last are ``(rows, columns)``; fp64 stays. Blocks are small enough to stay in the cache.
    """
    if source.packed is not None:
        for block, weight in _iter_unfolded(source.packed, multiple):
            stored, _ = (room or Room()).take(_DTYPES[source.dtype], weight.numel())
            yield block, stored, weight
        return
    dtype = _DTYPES[source.dtype]
    count = source.byte_count // (dtype.itemsize * max(1, columns))
    size = min(BLOCK_BYTES, _CACHE_BYTES)
    step = max(1, size // (4 * max(1, columns)) // multiple) * multiple
    for row in range(0, count, step):
        last = min(count, row + step)
        stored, exact = (room or Room()).take(dtype, (last - row) * columns)
        if stream.readinto(stored.view(torch.uint8).numpy()) != stored.nbytes:  # type: ignore[attr-defined]  # typeshed's BinaryIO lacks it
            raise _describe_end(source)
        if exact is not stored:
            exact.copy_(stored)
        yield slice(row, last), stored, exact.view(-1, columns)


def _iter_unfolded(packed: StoredWeight, multiple: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yields a weight in few bits as blocks of rows, fp32; a whole one is in memory meanwhile."""
    weight = _unfold(packed)
    rows, columns = weight.shape
    step = max(1, BLOCK_BYTES // (4 * max(1, columns)) // multiple) * multiple
    for row in range(0, rows, step):
        block = slice(row, min(rows, row + step))
        yield block, weight[block].clone()


def _unfold(packed: StoredWeight) -> torch.Tensor:
    """Returns a weight in few bits as it would stand in a file, in fp32."""
    weight = packed.read().unfold()
    return weight.t().contiguous() if packed.is_turned else weight


def _unpack(tensor: StoredTensor, packed: StoredWeight, dtype: str) -> StoredTensor:
    size = torch.Size(packed.shape).numel() * _DTYPES[dtype].itemsize
    return StoredTensor(tensor.name, dtype, packed.shape, tensor.path, 0, size, packed)


def _find_dtype(config: Mapping[str, Any], plain: Iterable[StoredTensor]) -> str:
    """Returns the format that a model's other weights are in, as it says or as they are."""
    stated = str(config.get("dtype") or config.get("torch_dtype"))
    named = {str(dtype).removeprefix("torch."): name for name, dtype in _DTYPES.items()}
    return named.get(stated) or next((one.dtype for one in plain if one.is_plain), "BF16")


def _round(weight: torch.Tensor, stored: torch.Tensor, name: str) -> memoryview:
    """Returns the bytes of new values, rounded once into the place of the ``stored`` ones."""
    limit = _LIMITS[stored.dtype]
    if weight.numel():
        low, high = torch.aminmax(weight)
        if not (-limit < float(low) and float(high) < limit):
            raise ModelUnusable(
                f"{name} plus the adapter is too large for the number format of the base "
                f"({stored.dtype}).",
                "Choose an earlier checkpoint of the adapter, or a base model stored in bfloat16.",
            )
    if weight.numel() != stored.numel():  # some changes add rows
        stored = torch.empty(weight.numel(), dtype=stored.dtype)
    stored.copy_(weight.reshape(-1))
    return stored.view(torch.uint8).numpy().data


def _describe_end(source: StoredTensor) -> ModelUnusable:
    return ModelUnusable(f"{source.path} ended in the middle of {source.name}.", _REMEDY)


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
