"""A safetensors header is read as its own library reads it; a broken one is refused in words."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from studio.core.errors import FileUnusable, ModelUnusable
from studio.core.weights.header import MAX_HEADER_BYTES, read_header, read_headers

_DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.int64, torch.bool]
_DTYPES += [torch.float8_e4m3fn, torch.float8_e5m2, torch.float64, torch.uint8]


def _write(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def _entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(st.sampled_from(_DTYPES), st.lists(st.integers(0, 4), max_size=3)),
        min_size=1,
        max_size=6,
    )
)
def test_names_shapes_and_sizes_are_those_that_the_library_wrote(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, tuple[torch.dtype, list[int]]]
) -> None:
    path = tmp_path_factory.mktemp("st") / "model.safetensors"
    tensors = {name: torch.zeros(shape, dtype=dtype) for name, (dtype, shape) in wanted.items()}
    save_file(tensors, path, {"format": "pt"})
    header = read_header(path)
    found = {tensor.name: tensor for tensor in header.tensors}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].shape == tuple(tensor.shape)
        assert found[name].size_bytes == tensor.numel() * tensor.element_size()
        assert found[name].parameters == tensor.numel()
    assert header.metadata == {"format": "pt"}
    assert header.file_bytes == path.stat().st_size


_BROKEN: dict[str, tuple[Any, bytes, str]] = {
    "overlap": ({"a": _entry([2], 0, 8), "b": _entry([2], 4, 12)}, b"x" * 12, "does not lie"),
    "hole": ({"a": _entry([2], 0, 8), "b": _entry([2], 12, 20)}, b"x" * 20, "does not lie"),
    "outside": ({"a": _entry([4], 0, 16)}, b"x" * 8, "cut off"),
    "trailing": ({"a": _entry([2], 0, 8)}, b"x" * 9, "belong to no tensor"),
    "wrong shape": ({"a": _entry([3], 0, 8)}, b"x" * 8, "contradict each other"),
    "overflowing shape": ({"a": _entry([2**40, 2**40], 0, 8)}, b"x" * 8, "contradict"),
    "backwards": ({"a": _entry([2], 8, 0)}, b"x" * 8, "contradict"),
    "negative": ({"a": _entry([-2], 0, 8)}, b"x" * 8, "is not valid"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, b"x" * 8, "is not valid"),
    "no mapping": ({"a": 5}, b"", "is not valid"),
    "unknown format": ({"a": _entry([2], 0, 8, "X9")}, b"x" * 8, "unknown number format 'X9'"),
    "notes": ({"__metadata__": {"a": 1}}, b"", "notes are not valid"),
    "a list": (b"[1, 2]  ", b"", "does not start as"),
    "no JSON": (b"{nonsense", b"", "table of contents is not valid"),
    "deep": (b'{"a":' + b"[" * 100_000, b"", "table of contents is not valid"),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_a_header_that_contradicts_the_format_is_refused_here_and_by_the_library(
    tmp_path: Path, name: str
) -> None:
    header, data, message = _BROKEN[name]
    path = _write(tmp_path / "model.safetensors", header, data)
    with pytest.raises(ModelUnusable, match=message) as caught:
        read_header(path)
    assert caught.value.remedy
    with pytest.raises(Exception, match=r".+"), safe_open(path, "pt"):
        pass


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    entry = json.dumps(_entry([2], 0, 8)).encode()
    path = _write(tmp_path / "m", b'{"a":' + entry + b',"a":' + entry + b"}", b"x" * 8)
    with pytest.raises(ModelUnusable, match="table of contents"):
        read_header(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x05", b"PK\x03\x04" + b"\0" * 100, struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}"],
    ids=["empty", "one byte", "zip", "too long"],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelUnusable, match=r"does not start as|is cut off"):
        read_header(tmp_path / "m")


def test_a_pointer_of_git_lfs_and_a_cut_off_header_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ModelUnusable, match="only a pointer"):
        read_header(tmp_path / "m")
    (tmp_path / "m").write_bytes(struct.pack("<Q", 500) + b'{"a": ')
    with pytest.raises(ModelUnusable, match="cut off"):
        read_header(tmp_path / "m")
    with pytest.raises(FileUnusable, match="does not exist"):
        read_header(tmp_path / "missing")


def _write_shards(folder: Path, weight_map: dict[str, str]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    save_file({"a": torch.zeros(2)}, folder / "one.safetensors")
    save_file({"b": torch.zeros(3)}, folder / "two.safetensors")


def test_the_parts_of_a_model_are_read_as_its_index_names_them(tmp_path: Path) -> None:
    _write_shards(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    headers = read_headers(tmp_path)
    assert [tensor.name for header in headers for tensor in header.tensors] == ["a", "b"]


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "one.safetensors", "c": "three.safetensors"}, "three.safetensors is missing"),
        ({"a": "one.safetensors", "z": "two.safetensors"}, "does not hold z"),
        ({"a": "../one.safetensors"}, "no safetensors file beside it"),
        ({"a": "/etc/one.safetensors"}, "no safetensors file beside it"),
        ({"a": "pytorch_model.bin"}, "no safetensors file beside it"),
        ({}, "names no files"),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_refused(
    tmp_path: Path, weight_map: dict[str, str], message: str
) -> None:
    _write_shards(tmp_path, weight_map)
    with pytest.raises(ModelUnusable, match=message):
        read_headers(tmp_path)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("st") / "model.safetensors"
    save_file({"a.weight": torch.zeros(2, 3), "b": torch.zeros(4)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        size_bytes, remedy = sum(t.size_bytes for t in read_header(path).tensors), "none needed"
    except ModelUnusable as error:
        size_bytes, remedy = 0, error.remedy
    assert remedy
    assert size_bytes <= path.stat().st_size
