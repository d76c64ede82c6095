"""Adapters trained over a base in fewer bits can be joined with the weights that they saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from studio.core.errors import AdapterUnusable, RecipeInvalid
from studio.core.events.types import ExportFinished
from studio.engine.export import held_changes, shards
from studio.engine.export.merged import export_merged
from studio.engine.lora.state import load_adapter
from studio.engine.models.load import load_model
from tests.engine.export.test_seen_base import _export, _train
from tests.engine.quant.bitsandbytes_referee import load_functional
from tests.engine.tiny_run import build_base, of_type

CPU = torch.device("cpu")
IDS = torch.arange(40, 80)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama in the widths that bitsandbytes computes rightly on a processor."""
    return build_base(
        tmp_path_factory.mktemp("wide"), hidden_size=128, intermediate_size=128, head_dim=32
    )


@pytest.fixture(scope="module", params=["nf4", "int8", "loftq"])
def trained(request: pytest.FixtureRequest, base: Path, tmp_path_factory: Any) -> tuple[Path, str]:
    """An adapter, and what its base was held in."""
    kind = "nf4" if request.param == "loftq" else request.param
    init = "loftq" if request.param == "loftq" else "kaiming"
    return _train(base, tmp_path_factory.mktemp("made") / "adapter", kind, init), kind


def _answer(folder: Path, adapter: Path | None = None, kind: str = "none") -> torch.Tensor:
    model = load_model(folder, torch.float32, CPU, quantisation=kind)
    if adapter is not None:
        load_adapter(model, adapter)
    with torch.no_grad():
        return torch.as_tensor(model(input_ids=IDS).logits)


def test_the_files_answer_as_the_training_did(
    trained: tuple[Path, str], base: Path, tmp_path: Path
) -> None:
    adapter, kind = trained
    events = _export(adapter, tmp_path / "out", "merged", onto="dequantised", prompts=("1+1?",))
    (finished,) = of_type(events, ExportFinished)
    assert finished.is_verified, finished.reasons
    expected = _answer(base, adapter, kind)
    torch.testing.assert_close(_answer(tmp_path / "out"), expected, rtol=1e-4, atol=1e-4)
    assert (_answer(base, adapter if kind == "int8" else None) - expected).abs().max() > 1e-3
    notes = json.loads((tmp_path / "out" / "certificate.json").read_text())["notes"]
    (note,) = [one for one in notes if "join it with the values" in one]
    assert "nats per token; joined with the original weights it would be " in note


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_each_tensor_is_what_peft_merges_into_unfolded_weights(base: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    four_bits = load_functional()
    adapter = _train(base, tmp_path / "adapter", "nf4")
    list(export_merged(base, adapter, tmp_path / "out", onto="dequantised"))
    model = transformers.AutoModelForCausalLM.from_pretrained(base, trust_remote_code=False)
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Linear) and name != "lm_head":
                codes, state = four_bits.quantize_4bit(
                    layer.weight.data, quant_type="nf4", compress_statistics=True
                )
                layer.weight.copy_(four_bits.dequantize_4bit(codes, state))
    merged = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert set(found) <= set(merged)
    for name, tensor in found.items():
        off = (tensor - merged[name]).abs()
        # Of two levels for a block's scale that are equally near bitsandbytes takes either.
        assert float((off > 1e-6).float().mean()) < 0.02, name
        assert float(off.max()) < 1e-3, name


def test_a_gguf_file_can_be_built_on_them_too(trained: tuple[Path, str], tmp_path: Path) -> None:
    adapter, _ = trained
    events = _export(adapter, tmp_path / "out", "gguf", onto="dequantised", quant="f32")
    (finished,) = of_type(events, ExportFinished)
    assert finished.is_verified, finished.reasons


def test_blocks_of_rows_and_transposed_weights_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = build_base(tmp_path / "base", "gpt2", n_embd=64)
    adapter = _train(base, tmp_path / "adapter", "nf4")
    list(export_merged(base, adapter, tmp_path / "whole", onto="dequantised"))
    expected = _answer(base, adapter, "nf4")
    torch.testing.assert_close(_answer(tmp_path / "whole"), expected, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(shards, "BLOCK_BYTES", 3000)
    list(export_merged(base, adapter, tmp_path / "parts", onto="dequantised"))
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-6, atol=1e-7)


def test_what_cannot_be_meant_is_refused(base: Path, tmp_path: Path) -> None:
    plain = _train(base, tmp_path / "plain", "none")
    with pytest.raises(AdapterUnusable, match="was not trained over a base in fewer bits"):
        list(export_merged(base, plain, tmp_path / "out", onto="dequantised"))
    held = _train(base, tmp_path / "held", "int8")
    with pytest.raises(RecipeInvalid, match="cannot keep the zeros"):
        list(export_merged(base, held, tmp_path / "out", onto="dequantised", keeps_zeros=True))
    assert not (tmp_path / "out").exists()


def test_one_matrix_is_in_memory_at_a_time() -> None:
    change = held_changes.Dequantised(
        lambda matrix: _Halved(matrix), (4, 2), is_transposed=False, change=None
    )
    rows = torch.arange(8.0).reshape(4, 2)
    for part in (slice(0, 2), slice(2, 4)):
        change.measure(part, rows[part])
    found = [change.apply(part, rows[part].clone()) for part in (slice(0, 2), slice(2, 4))]
    assert torch.equal(torch.cat(found), rows / 2)
    assert change._values.numel() == 0


class _Halved:
    """Held weights that unfold to half of what they were."""

    byte_count = 0

    def __init__(self, matrix: torch.Tensor) -> None:
        self.codes = matrix
        self.shape = (matrix.shape[0], matrix.shape[1])

    def to(self, device: torch.device) -> _Halved:
        del device
        return self

    def borrow(self, dtype: torch.dtype) -> torch.Tensor:
        return self.unfold().to(dtype)

    def unfold(self) -> torch.Tensor:
        return self.codes / 2
