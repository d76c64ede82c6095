"""The layers of a model that is not on this machine: the beginnings of its files are enough."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import ModelUnusable
from studio.core.weights.header import (
    INDEX_FILE,
    MAX_INDEX_BYTES,
    SINGLE_FILE,
    Header,
    TensorEntry,
    check_promised,
    get_header_size,
    parse_header,
    parse_index,
)
from studio.core.weights.layers import MAX_CONFIG_BYTES, ModelLayers, build_layers
from studio.core.weights.shapes import build_plain_tensors, is_known_family
from studio.core.weights.stored import find_known_shapes, get_stored_kind

ReadPart = Callable[[str, int, int], bytes]
"""Returns bytes of a file: its name, the first byte, how many at most."""

_FIRST_BYTES = 1 << 17
"""Enough for the table of contents of nearly every file, so that one request does."""


def load_remote_layers(
    name: str, sizes: Mapping[str, int], read: ReadPart
) -> tuple[ModelLayers, dict[str, Any]]:
    """Return the layers and the configuration of a model from the beginnings of its files.

    ``name`` is shown to people, ``sizes`` are the bytes of all its files by name, ``read`` fetches
    a part of one.

    Raises:
        ModelUnusable: A file is missing, broken or contradicts the format.
    """
    folder = Path(name)
    config = _read_json(folder, "config.json", sizes, read, MAX_CONFIG_BYTES)
    tensors: list[TensorEntry] = []
    if SINGLE_FILE in sizes:
        tensors += _read_header(folder, SINGLE_FILE, sizes, read).tensors
    else:
        index = _read_json(folder, INDEX_FILE, sizes, read, MAX_INDEX_BYTES)
        for shard, promised in parse_index(folder / INDEX_FILE, index).items():
            header = _read_header(folder, shard, sizes, read)
            check_promised(header, promised)
            tensors += header.tensors
    if get_stored_kind(config) == "none":
        return build_layers(folder, config, tensors), config
    # the shapes of weights in 4 bits stand between the weights themselves, not in the beginnings
    known = is_known_family(str(config.get("model_type", "")))
    shapes = find_known_shapes(build_plain_tensors(config) if known else ())
    return build_layers(folder, config, tensors, shapes), config


def _read_header(folder: Path, name: str, sizes: Mapping[str, int], read: ReadPart) -> Header:
    size = _get_size(folder, name, sizes)
    start = read(name, 0, min(size, _FIRST_BYTES))
    length = get_header_size(start, folder / name, size)
    text = start[8 : 8 + length]
    if len(text) < length:
        text += read(name, 8 + len(text), length - len(text))
    return parse_header(folder / name, text[:length], size)


def _read_json(
    folder: Path, name: str, sizes: Mapping[str, int], read: ReadPart, largest: int
) -> dict[str, Any]:
    size = _get_size(folder, name, sizes)
    content: Any = None
    if size <= largest:
        try:
            content = json.loads(read(name, 0, size))
        except (ValueError, RecursionError):
            content = None
    if not isinstance(content, dict):
        raise ModelUnusable(f"{name} of {folder} cannot be read.", "Choose another model.")
    return content


def _get_size(folder: Path, name: str, sizes: Mapping[str, int]) -> int:
    if name not in sizes:
        raise ModelUnusable(
            f"{folder} has no file {name}.", "Choose a model with .safetensors files."
        )
    return sizes[name]
