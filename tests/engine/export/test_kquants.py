"""Our K-quants are as exact as those of llama.cpp and mean the same in its reader."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from studio.engine.export.gguf.kquants import K_QUANTS, quantise
from studio.engine.export.gguf.mix import RECIPES, choose_format
from studio.engine.export.gguf.numbers import Format
from tests.engine.export.llama_referee import compute_logits, measure_error, open_model
from tests.engine.export.test_gguf_model import answer, write_file
from tests.engine.export.tiny_families import build_family
from tests.engine.pretend_card import PretendCard

_KINDS = sorted(K_QUANTS)
_IDS = list(range(40, 64))


def _draw(distribution: str) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(0)
    draw = (
        generator.standard_normal((64, 4096))
        if distribution == "normal"
        else generator.standard_t(4, (64, 4096))
    )
    return (draw * 0.02).astype(np.float32)


def _read_back(values: np.ndarray[Any, Any], kind: Format) -> np.ndarray[Any, Any]:
    found = quantise(torch.from_numpy(values), kind).numpy()
    back: np.ndarray[Any, Any] = gguf.quants.dequantize(found.reshape(len(values), -1), kind)
    return back


def _quantise_with_llama_cpp(values: np.ndarray[Any, Any], kind: Format) -> np.ndarray[Any, Any]:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    folder = Path(llama_cpp.__file__).parent / "lib"
    library = next((path for path in folder.glob("*ggml-base.*") if path.is_file()), None)
    if library is None:
        pytest.skip("llama-cpp-python came without its quantiser")
    function = ctypes.CDLL(str(library)).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
    rows, columns = values.shape
    out = np.zeros((rows, columns // 256 * gguf.GGML_QUANT_SIZES[kind][1]), np.uint8)
    function(int(kind), values.ctypes.data, out.ctypes.data, 0, rows, columns, None)
    return out


@pytest.mark.parametrize("room", [1 << 30, 1 << 10])
def test_a_card_computes_the_same_bytes_and_leaves_them_where_it_is_full(room: int) -> None:
    values = torch.from_numpy(_draw("normal")[:2])
    kind = _KINDS[0]
    expected = quantise(values, kind)
    with PretendCard(total_bytes=room) as card:
        found = quantise(values, kind)
        assert found.device == torch.device("cpu")
    assert torch.equal(found, expected)
    assert bool(card.most) == (room > 1 << 20)


@pytest.mark.referee
@pytest.mark.parametrize("distribution", ["normal", "heavy tails"])
@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.name)
def test_the_error_is_within_two_percent_of_llama_cpp(kind: Format, distribution: str) -> None:
    values = _draw(distribution)
    theirs = gguf.quants.dequantize(_quantise_with_llama_cpp(values, kind), kind)
    ours = _read_back(values, kind)
    assert measure_error(values, ours) < 1.02 * measure_error(values, theirs)


@pytest.mark.parametrize(
    ("kind", "bound"), [(Format.Q4_K, 0.075), (Format.Q5_K, 0.037), (Format.Q6_K, 0.0185)]
)
def test_values_come_back_with_the_known_error(kind: Format, bound: float) -> None:
    values = _draw("normal")
    assert bound / 1.1 < measure_error(values, _read_back(values, kind)) < bound


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.name)
def test_unusual_blocks_come_back(kind: Format) -> None:
    values = np.zeros((5, 256), np.float32)
    values[1] = 0.5
    values[2] = -3.0
    values[3, 17] = 100.0
    values[4] = np.linspace(1e-7, 2e-7, 256)
    back = _read_back(values, kind)
    assert np.isfinite(back).all()
    assert (back[0] == 0).all()
    assert measure_error(values[1], back[1]) < 0.02
    assert measure_error(values[2], back[2]) < 0.02
    assert abs(back[3, 17] - 100) < 2
    assert np.abs(back[4]).max() < 1e-6


def test_the_parts_of_a_large_tensor_are_quantised_alike() -> None:
    values = torch.from_numpy(_draw("normal"))
    whole = quantise(values, Format.Q4_K)
    assert torch.equal(whole[16:32], quantise(values[1], Format.Q4_K))


def _quantise_file(path: Path, out: Path, quant: str) -> gguf.GGUFReader:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = RECIPES[quant].file_type
    options.nthread = 1
    code = llama_cpp.llama_model_quantize(
        str(path).encode(), str(out).encode(), ctypes.byref(options)
    )
    assert code == 0
    return gguf.GGUFReader(out)


@pytest.mark.referee
@pytest.mark.parametrize(
    ("family", "quant"),
    [
        *(("llama", quant) for quant in ("q4_k_m", "q5_k_m", "q6_k", "q4_0", "q8_0")),
        ("phi3", "q4_k_m"),
        ("gpt2", "q5_k_m"),
    ],
)
def test_each_tensor_gets_the_format_that_llama_cpp_chooses(
    family: str, quant: str, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 256, "intermediate_size": 288, "num_hidden_layers": 8}
    if family == "gpt2":
        sizes = {"n_embd": 256, "hidden_size": 256, "n_layer": 8, "num_hidden_layers": 8}
    model = build_family(tmp_path / "base", family, **sizes)
    plain = write_file(tmp_path / "base", tmp_path / "plain", "f32")
    path = write_file(tmp_path / "base", tmp_path / "ours", quant)
    theirs = _quantise_file(plain, tmp_path / "theirs.gguf", quant)
    ours = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for tensor in theirs.tensors:
        assert ours[tensor.name].tensor_type == tensor.tensor_type, tensor.name
    expected = answer(model, _IDS)
    found = measure_error(expected, compute_logits(open_model(path), _IDS))
    other = measure_error(expected, compute_logits(open_model(tmp_path / "theirs.gguf"), _IDS))
    assert found < 1.25 * other  # one prompt through random weights is a coarse measure


def test_rows_that_do_not_divide_fall_back() -> None:
    recipe = RECIPES["q4_k_m"]
    shapes = {(8, 512): Format.Q4_K, (8, 96): Format.Q5_0, (8, 20): Format.F16, (8,): Format.F32}
    for shape, expected in shapes.items():
        name = "blk.0.ffn_up.weight"
        assert choose_format(name, shape, recipe, 8, is_output=False) == expected
