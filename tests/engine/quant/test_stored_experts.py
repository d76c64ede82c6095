"""Experts that come in few bits one by one compute as their unfolded weights, and are merged so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.errors import ModelUnusable
from studio.core.events.types import StepFinished
from studio.core.jobs.orders import Stop
from studio.core.memory.model import read_model_folder
from studio.core.recipe.schema import AdapterSettings
from studio.engine.export.gguf.model import plan_plainly
from studio.engine.export.merged import export_merged, write_model
from studio.engine.held.experts import ExpertMatrix
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter
from studio.engine.models.load import load_model
from studio.engine.models.quantised import count_parameters
from tests.engine.quant.stored_base import _pack_4bit, store_base
from tests.engine.quant.test_held_experts import _get_gradients, _write
from tests.engine.tiny_run import (
    VOCABULARY,
    ScriptedControl,
    build_run,
    build_tokenizer,
    of_type,
    train_run,
)

CPU = torch.device("cpu")


def _unpack(stored: Path, folder: Path) -> Path:
    """Writes the model in ``stored`` with the numbers that its weights unfold to."""
    for _ in write_model(stored, folder, plan_plainly(stored)):
        pass
    return folder


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_logits_and_gradients_are_those_of_the_unpacked_files(
    family: str, kind: str, tmp_path: Path
) -> None:
    """transformers itself joins the unpacked experts, so that it is the judge of their order."""
    stored = store_base(tmp_path / "stored", _write(tmp_path / "base", family), kind)
    model = load_model(stored, torch.float32, CPU)
    dense = load_model(_unpack(stored, tmp_path / "dense"), torch.float32, CPU)
    matrices = [one for one in model.modules() if isinstance(one, ExpertMatrix)]
    assert len(matrices) == 2 * 2 * 4
    assert count_parameters(model) == sum(p.numel() for p in dense.parameters())
    assert read_model_folder(stored).layers.parameters == count_parameters(model)
    for one in (model, dense):
        settings = AdapterSettings(rank=4, alpha=8.0, targets=("q_proj", "*.experts.*"))
        adapter = inject(one, settings, seed=0)
        numbers = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=numbers))
    logits, gradients = _get_gradients(model)
    expected_logits, expected = _get_gradients(dense)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-5, atol=2e-5)
    assert len(gradients) == len(expected) > 0
    for found, other in zip(gradients.values(), expected.values(), strict=True):
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-6)


def test_a_router_that_is_stored_in_few_bits_is_unfolded(tmp_path: Path) -> None:
    """Earlier model code had it as a linear layer, which bitsandbytes then took as well."""
    stored = store_base(tmp_path / "stored", _write(tmp_path / "base", "mixtral"))
    tensors = load_file(stored / "model.safetensors")
    name = "model.layers.1.block_sparse_moe.gate.weight"
    tensors |= _pack_4bit(name, tensors[name])
    save_file(tensors, stored / "model.safetensors", {"format": "pt"})
    model = load_model(stored, torch.float32, CPU)
    dense = load_model(_unpack(stored, tmp_path / "dense"), torch.float32, CPU)
    router = "model.layers.1.mlp.gate.weight"
    assert torch.equal(model.get_parameter(router), dense.get_parameter(router))
    ids = torch.arange(12).view(1, 12)
    with torch.no_grad():
        found, expected = model(input_ids=ids).logits, dense(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


def test_experts_that_do_not_make_a_stack_are_refused_by_name(tmp_path: Path) -> None:
    stored = store_base(tmp_path / "stored", _write(tmp_path / "base", "mixtral"))
    tensors = load_file(stored / "model.safetensors")
    part = "model.layers.0.block_sparse_moe.experts.2.w3.weight"
    tensors = {name: one for name, one in tensors.items() if not name.startswith(part)}
    save_file(tensors, stored / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnusable, match=r"experts\.0\.w1 is an expert that is stored alone"):
        load_model(stored, torch.float32, CPU)
    assert json.loads((stored / "config.json").read_text())["model_type"] == "mixtral"


@pytest.mark.parametrize("form", ["read", "stored"])
def test_a_run_over_experts_in_few_bits_goes_on_after_a_stop_and_is_merged(
    form: str, tmp_path: Path, tiny_chats: Path
) -> None:
    base = _write(tmp_path / "base", "qwen3_moe", vocab_size=VOCABULARY, eos_token_id=256,
                  max_position_embeddings=256)  # fmt: skip
    build_tokenizer().save_pretrained(base)
    if form == "stored":
        base = store_base(tmp_path / "stored", base)
    held = {} if form == "stored" else {"quantisation": "nf4"}
    adapter = {"targets": ["q_proj", "*.experts.*"]}
    settings = {"steps": 4, "batch_sequences": 4, "micro_batch_tokens": 60, "checkpointing": "all"}
    runs = [
        build_run(tmp_path / name, base, tiny_chats, held=held, adapter=adapter, **settings)
        for name in ("whole", "parts")
    ]
    control = ScriptedControl(runs[1])
    control.at(lambda events: len(of_type(events, StepFinished)) == 2, Stop())
    whole, first, second = train_run(runs[0]), train_run(runs[1], control), train_run(runs[1])
    losses = [[e.loss for e in of_type(events, StepFinished)] for events in (whole, first, second)]
    assert losses[0] == losses[1] + losses[2]
    assert losses[0][-1] < losses[0][0]

    list(export_merged(base, runs[0].adapter, tmp_path / "merged"))
    merged = load_model(tmp_path / "merged", torch.float32, CPU)
    seen = load_model(base, torch.float32, CPU)
    load_adapter(seen, runs[0].adapter)
    ids = torch.arange(12).view(1, 12)
    with torch.no_grad():
        found, expected = merged(input_ids=ids).logits, seen.eval()(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)
