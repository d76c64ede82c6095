"""Adapters over experts in fewer bits can be joined with the weights that the training saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from studio.core.events.types import ExportFinished
from studio.core.recipe.schema import AdapterSettings
from studio.engine.export import shards
from studio.engine.export.merged import export_merged
from studio.engine.held.experts import QuantisedExperts
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.models.load import load_model
from tests.engine.export.test_seen_base import _export
from tests.engine.lora.tiny_models import build_batch
from tests.engine.quant.test_held_experts import _write
from tests.engine.tiny_run import build_tokenizer, of_type

CPU = torch.device("cpu")


def _train(base: Path, folder: Path, kind: str, targets: list[str]) -> Path:
    settings = AdapterSettings.model_validate({"rank": 4, "alpha": 4.0, "targets": targets})
    adapter = inject(load_model(base, torch.float32, CPU, quantisation=kind), settings, seed=0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    save_adapter(adapter, folder, base_model=str(base))
    return folder


def _answer(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(input_ids=build_batch(rows=2)).logits)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("family", ["qwen3_moe", "mixtral", "gpt_oss"])
def test_the_files_hold_what_the_training_saw(
    family: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single experts and stacks, transposed or not, with an adapter on some of them."""
    base = _write(tmp_path / "base", family)
    adapter = _train(base, tmp_path / "adapter", kind, ["q_proj", "*.experts.down_proj"])
    monkeypatch.setattr(shards, "BLOCK_BYTES", 3000)
    list(export_merged(base, adapter, tmp_path / "out", onto="dequantised"))
    seen = load_model(base, torch.float32, CPU, quantisation=kind)
    assert any(isinstance(module, QuantisedExperts) for module in seen.modules())
    load_adapter(seen, adapter)
    expected = _answer(seen)
    found = _answer(load_model(tmp_path / "out", torch.float32, CPU))
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4)
    plain = load_model(base, torch.float32, CPU)
    load_adapter(plain, adapter)
    assert (_answer(plain) - expected).abs().max() > 1e-3
    before = load_file(base / "model.safetensors")
    assert set(load_file(tmp_path / "out" / "model.safetensors")) == set(before)


def test_the_certificate_says_what_either_base_changes(tmp_path: Path) -> None:
    base = _write(tmp_path / "base", "mixtral", vocab_size=512)
    build_tokenizer().save_pretrained(base)
    adapter = _train(base, tmp_path / "adapter", "nf4", ["q_proj", "*.experts.*"])
    for onto, words in (
        ("dequantised", "join it with the values"),
        ("original", "as training saw"),
    ):
        out = tmp_path / onto
        events = _export(adapter, out, "merged", onto=onto, prompts=("1+1?",))
        (finished,) = of_type(events, ExportFinished)
        assert finished.is_verified or onto == "original", finished.reasons
        notes = json.loads((out / "certificate.json").read_text())["notes"]
        assert any(words in one for one in notes), notes
