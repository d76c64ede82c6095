"""A file of weights notices every changed bit, and stays what safetensors and others read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from studio.core.errors import AdapterUnusable, ModelUnusable
from studio.core.weights.checksum import (
    add_checksum,
    check_adapter_checksum,
    compute_file_checksum,
    compute_json_checksum,
)
from studio.core.weights.header import read_header

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "ä": torch.ones(3, dtype=torch.bfloat16)}


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _check(path: Path) -> None:
    read_header(path)
    check_adapter_checksum(path)


def test_safetensors_reads_the_same_numbers_and_notes(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.safetensors", add_checksum(save(TENSORS, {"format": "pt"})))
    check_adapter_checksum(path)
    found = load_file(path)
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in TENSORS.items()
    }
    with safe_open(path, framework="pt") as stream:
        assert stream.metadata()["format"] == "pt"
    # Whether the numbers begin where processors like it is part of the format.
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0


def test_the_same_content_makes_the_same_bytes() -> None:
    notes = {name: name for name in ("format", "one", "two", "three")}
    assert len({add_checksum(save(TENSORS, notes)) for _ in range(20)}) == 1


def test_no_flipped_bit_goes_unnoticed_but_in_the_name_of_the_note(tmp_path: Path) -> None:
    content = add_checksum(save(TENSORS, {"format": "pt"}))
    name = content.index(b'"content_crc32"')
    path = tmp_path / "a.safetensors"
    chance = random.Random(0)
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << chance.randrange(8)
        _write(path, bytes(flipped))
        if name <= position < name + len('"content_crc32"') or content[position] in b" \n":
            continue
        with pytest.raises((AdapterUnusable, ModelUnusable)):
            _check(path)


def test_files_of_other_tools_have_no_checksum_and_are_believed(tmp_path: Path) -> None:
    check_adapter_checksum(_write(tmp_path / "a.safetensors", save(TENSORS)))


def test_checksums_are_those_of_the_standard(tmp_path: Path) -> None:
    # Source: the check value of CRC-32 (ISO-HDLC) in Koopman's and Williams' catalogues.
    assert compute_file_checksum(_write(tmp_path / "a", b"123456789")) == "cbf43926"
    assert compute_json_checksum({"a": 1, "b": 2}) == compute_json_checksum({"b": 2, "a": 1})
