"""Bases stored in few bits are merged and converted by the weights that they unfold to."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from studio.core.recipe.schema import AdapterSettings
from studio.engine.export.gguf.model import export_gguf, plan_gguf, plan_plainly
from studio.engine.export.merged import export_merged, write_model
from studio.engine.export.shards import read_shards, read_tensor
from studio.engine.held.layer import QuantisedLayer, unfold_layers
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.models.load import load_model
from tests.engine.lora.tiny_models import build_batch
from tests.engine.quant.stored_base import store_base
from tests.engine.tiny_run import build_base

CPU = torch.device("cpu")


def _finish(stream: Generator[Any, None, tuple[str, ...]]) -> tuple[str, ...]:
    while True:
        try:
            next(stream)
        except StopIteration as end:
            files: tuple[str, ...] = end.value
            return files


def _prepare(folder: Path, family: str, kind: str) -> tuple[Path, Path, nn.Module]:
    """Returns a stored base, an adapter trained over it, and both in one model."""
    sizes = {"n_embd": 64} if family == "gpt2" else {"hidden_size": 64, "intermediate_size": 128}
    stored = store_base(folder / "stored", build_base(folder / "base", family, **sizes), kind)
    model = load_model(stored, torch.float32, CPU)
    adapter = inject(model, AdapterSettings(rank=4, alpha=6.0), seed=0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    save_adapter(adapter, folder / "adapter", base_model=str(stored))
    return stored, folder / "adapter", model


@pytest.mark.parametrize(("family", "kind"), [("llama", "nf4"), ("gpt2", "nf4"), ("gpt2", "int8")])
def test_a_merge_adds_to_the_unfolded_weights(family: str, kind: str, tmp_path: Path) -> None:
    stored, adapter, model = _prepare(tmp_path, family, kind)
    files = _finish(export_merged(stored, adapter, tmp_path / "merged"))
    assert "quantization_config" not in json.loads((tmp_path / "merged/config.json").read_text())
    assert not any("SCB" in one or "absmax" in one for one in _read_names(tmp_path / "merged"))
    assert "model.safetensors" in files
    merged = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged", dtype=torch.float32, trust_remote_code=False
    ).eval()
    with torch.no_grad():
        expected = model.eval()(input_ids=build_batch(rows=2)).logits
        found = merged(input_ids=build_batch(rows=2)).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_an_unpacked_copy_holds_exactly_the_weights_that_training_saw(tmp_path: Path) -> None:
    stored, adapter, _ = _prepare(tmp_path, "llama", "nf4")
    _finish(write_model(stored, tmp_path / "dense", plan_plainly(stored)))
    tensors = load_file(tmp_path / "dense" / "model.safetensors")
    seen = load_model(stored, torch.float32, CPU)
    layers = [m for m in seen.named_modules() if isinstance(m[1], QuantisedLayer)]
    assert len(layers) == 14
    for name, layer in layers:
        assert torch.equal(tensors[f"{name}.weight"], layer.frozen.get_weight()), name
    by_name = {one.name: one for shard in read_shards(stored).values() for one in shard}
    assert set(by_name) == set(tensors)
    assert all(torch.equal(read_tensor(by_name[name]), tensors[name]) for name in tensors)
    for source, out in ((stored, "one"), (tmp_path / "dense", "two")):
        _finish(export_gguf(plan_gguf(source, adapter, "q8_0"), tmp_path / out))
    name = "model-Q8_0.gguf"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_scales_may_lie_in_another_file_than_their_weights(tmp_path: Path) -> None:
    stored, adapter, model = _prepare(tmp_path, "llama", "nf4")
    tensors = load_file(stored / "model.safetensors")
    places = {name: 1 + ("absmax" in name or "quant_map" in name) for name in tensors}
    files = {name: f"model-0000{place}-of-00002.safetensors" for name, place in places.items()}
    for file in set(files.values()):
        part = {name: tensors[name] for name in tensors if files[name] == file}
        save_file(part, stored / file, {"format": "pt"})
    (stored / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": files}
    (stored / "model.safetensors.index.json").write_text(json.dumps(index))
    again = load_model(stored, torch.float32, CPU)
    load_adapter(again, adapter)
    with torch.no_grad():
        expected = model.eval()(input_ids=build_batch(rows=2)).logits
        assert torch.equal(again.eval()(input_ids=build_batch(rows=2)).logits, expected)
    _finish(export_merged(stored, adapter, tmp_path / "merged"))
    dense = unfold_layers(load_model(stored, torch.float32, CPU))
    merged = load_model(tmp_path / "merged", torch.float32, CPU)
    name = "model.layers.1.input_layernorm"
    assert torch.equal(merged.get_submodule(name).weight, dense.get_submodule(name).weight)


def _read_names(folder: Path) -> list[str]:
    return [one.name for shard in read_shards(folder).values() for one in shard]
