"""Models whose files hold their linear layers in few bits already, as bitsandbytes stores them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import ModelUnusable
from studio.core.files import get_file_error
from studio.core.weights.header import Header, TensorEntry
from studio.core.weights.matching import split_layer
from studio.core.weights.quantisable import is_quantisable

StoredKind = Literal["none", "nf4", "int8"]
Shape = tuple[int, ...]
ReadShape = Callable[[TensorEntry], Shape | None]
"""Returns the shape of a weight, given the tensor that states it (or its codes)."""

PACKED_DTYPES: Mapping[str, StoredKind] = {"NF4": "nf4", "FP4": "nf4", "INT8": "int8"}
"""What a module's weights are called that are held in few bits, and what holds them so."""
STORED_WORDS: Mapping[StoredKind, str] = {"nf4": "4 bits", "int8": "8 bits"}
STORED_HINT = (
    "An adapter can be trained on them as they are. They never become 16-bit weights again: a "
    "merged model is made of the unpacked weights, and the quantisation of the recipe has no "
    "effect. With the original model both would be open."
)
"""What weights in few bits mean for their owner."""
STATE = ".quant_state.bitsandbytes__"
SCALES = ".SCB"
CONV1D_TYPES = frozenset({"gpt2", "openai-gpt", "imagegpt"})
"""Families whose matrices lie in files as (in, out); in few bits they are (out, in) again."""
_MAX_STATE_BYTES = 1 << 16
_REMEDY = "Choose the original model with 16-bit or 32-bit weights."


def get_stored_kind(config: Mapping[str, Any]) -> StoredKind:
    """Return in which format ``config.json`` says that the files hold the linear layers.

    Raises:
        ModelUnusable: It is a format other than that of bitsandbytes.
    """
    declared = config.get("quantization_config")
    if not declared:
        return "none"
    settings = declared if isinstance(declared, Mapping) else {}
    is_4bit, is_8bit = settings.get("load_in_4bit"), settings.get("load_in_8bit")
    method = settings.get("quant_method", "bitsandbytes" if is_4bit or is_8bit else "unknown")
    if method != "bitsandbytes":
        raise ModelUnusable(
            f"The weights of this model are already quantised, in the format {method!s:.30}, which "
            "cannot be trained on.",
            f"{_REMEDY} Models stored by bitsandbytes in 4 or 8 bits work as well.",
        )
    return "int8" if is_8bit and not is_4bit else "nf4"


def unpack_entries(
    config: Mapping[str, Any], tensors: Iterable[TensorEntry], read_shape: ReadShape
) -> list[TensorEntry]:
    """Return the tensors with one entry for each weight in few bits, in its true shape.

    Codes and scales of a weight become one entry of the format ``NF4``, ``FP4`` or ``INT8``, whose
    size is that of all of them; what belongs to no such weight stays as it is.

    Raises:
        ModelUnusable: Codes are missing, or do not fit their shape.
    """
    tensors = list(tensors)
    named = {tensor.name: tensor for tensor in tensors}
    packed = {}
    for name, dtype, stated in _iter_packed(tensors):
        codes = named.get(name)
        if codes is None:
            raise ModelUnusable(
                f"The file holds scales of {name:.80}, but not its weights.", _REMEDY
            )
        shape = read_shape(codes if dtype == "INT8" else stated)
        expected = codes.size_bytes * (1 if dtype == "INT8" else 2)
        if shape is None or len(shape) != 2 or not 0 <= expected - math.prod(shape) < 2:
            raise ModelUnusable(f"The shape of {name:.80} is not stated as expected.", _REMEDY)
        packed[name] = (dtype, shape[::-1] if is_turned(config, name) else shape)
    owners = {name.removesuffix(".weight"): name for name in packed}
    sizes = dict.fromkeys(packed, 0)
    kept = []
    for tensor in tensors:
        owner = _find_owner(tensor.name, owners)
        if owner is None:
            kept.append(tensor)
        else:
            sizes[owner] += tensor.size_bytes
    return kept + [
        TensorEntry(name, dtype, shape, 0, sizes[name]) for name, (dtype, shape) in packed.items()
    ]


def is_turned(config: Mapping[str, Any], name: str) -> bool:
    """Return whether files hold the weight ``name`` as (in, out), and in few bits as (out, in)."""
    return config.get("model_type") in CONV1D_TYPES and split_layer(name)[0] is not None


def read_stated_shapes(headers: Iterable[Header]) -> ReadShape:
    """Return how to find the shapes of weights in 4 bits: small texts in the files state them.

    Raises (when called):
        ModelUnusable: A text is not as bitsandbytes writes it.
        FileUnusable: A file cannot be read.
    """
    places = {tensor.name: header for header in headers for tensor in header.tensors}

    def read(tensor: TensorEntry) -> Shape | None:
        if STATE not in tensor.name:
            return tensor.shape
        header = places[tensor.name]
        begin = header.file_bytes - max(entry.end for entry in header.tensors) + tensor.start
        return read_state_shape(_read_part(header.path, begin, tensor.size_bytes))

    return read


def read_state_shape(text: bytes) -> Shape | None:
    """Return the shape in what bitsandbytes notes of a weight; None where there is none."""
    try:
        stated = json.loads(text).get("shape")
    except (ValueError, AttributeError, RecursionError):
        return None
    if isinstance(stated, list) and all(type(size) is int and size > 0 for size in stated):
        return tuple(stated)
    return None


def find_known_shapes(known: Iterable[TensorEntry]) -> ReadShape:
    """Return how to find shapes where only headers are at hand: as ``known`` of the same model."""
    shapes = {tensor.name: tensor.shape for tensor in known}

    def find(tensor: TensorEntry) -> Shape | None:
        if STATE not in tensor.name:
            return tensor.shape
        return shapes.get(tensor.name.partition(STATE)[0])

    return find


def predict_packed(config: Mapping[str, Any], tensors: Iterable[TensorEntry]) -> list[TensorEntry]:
    """Return dense ``tensors`` as files will hold them that are in few bits by their ``config``."""
    kind = get_stored_kind(config)
    if kind == "none":
        return list(tensors)
    settings = config["quantization_config"]
    skipped = set(settings.get("llm_int8_skip_modules") or ()) | {"lm_head"}
    is_nested = bool(settings.get("bnb_4bit_use_double_quant"))
    found = []
    for tensor in tensors:
        name, _, last = tensor.name.rpartition(".")
        is_skipped = any(part in skipped for part in (name, *name.split(".")))
        if last != "weight" or is_skipped or not is_quantisable(name, tensor.shape):
            found.append(tensor)
            continue
        count = tensor.parameters
        scales = count // 64 * (1 if is_nested else 4)
        size = count + 4 * tensor.shape[0] if kind == "int8" else count // 2 + scales
        dtype = "INT8" if kind == "int8" else str(settings.get("bnb_4bit_quant_type", "fp4"))
        found.append(TensorEntry(tensor.name, dtype.upper(), tensor.shape, 0, size))
    return found


def _iter_packed(tensors: Iterable[TensorEntry]) -> Iterator[tuple[str, str, TensorEntry]]:
    """Yield the name of each weight in few bits, its format, and what states its shape."""
    for tensor in tensors:
        before, mark, kind = tensor.name.partition(STATE)
        if mark:
            yield before, kind.upper(), tensor
        elif tensor.name.endswith(SCALES):
            yield f"{tensor.name.removesuffix(SCALES)}.weight", "INT8", tensor


def _find_owner(name: str, owners: Mapping[str, str]) -> str | None:
    """Return the weight in few bits that a tensor is a part of; its bias is none."""
    for module in (name.rpartition(".")[0], name.partition(".weight.")[0]):
        if module in owners and name != f"{module}.bias":
            return owners[module]
    return None


def _read_part(path: Path, begin: int, size: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(begin)
            return stream.read(min(size, _MAX_STATE_BYTES))
    except OSError as error:
        raise get_file_error(path, error, "read") from error
