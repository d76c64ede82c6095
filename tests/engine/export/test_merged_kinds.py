"""Every kind of adapter merges into a folder that answers as base and adapter did together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn

from studio.core.events.types import ExportFinished, NoticeRaised
from studio.core.jobs.orders import ExportOrder
from studio.core.recipe.schema import AdapterSettings
from studio.core.runs.layout import RunLayout
from studio.engine.export import shards
from studio.engine.export.merged import export_merged
from studio.engine.jobs import export
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.export.test_gguf_lora import train_adapter
from tests.engine.export.tiny_families import build_family
from tests.engine.lora.tiny_models import build_batch, build_model
from tests.engine.tiny_run import ScriptedControl, of_type

_TIED = {"tie_word_embeddings": True}
# family, changes of its config, settings of the adapter, tokens, whether the tables stay tied
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], tuple[int, ...], bool | None]] = {
    "rslora": ("llama", {}, {"variant": "rslora"}, (), None),
    "dora": ("llama", {}, {"variant": "dora"}, (), None),
    "dora, transposed": ("gpt2", {}, {"variant": "dora"}, (), True),
    "dora, table": ("gemma3", {}, {"variant": "dora", "targets": ("embed_tokens",)}, (), None),
    "head in full": ("llama", {}, {"extra_modules": ("lm_head", "norm")}, (), None),
    "head of tied in full": ("llama", _TIED, {"extra_modules": ("lm_head",)}, (), False),
    "layer part with biases": ("phi", {}, {"extra_modules": ("model.layers.1.mlp",)}, (), None),
    "tokens": ("llama", {}, {}, (3, 60), None),
    "tokens of tied": ("llama", _TIED, {}, (3, 60), True),
    "tokens of tied, head adapted": ("llama", _TIED, {"extra_modules": ("norm",)}, (0, 63), True),
}


def _load(folder: Path) -> nn.Module:
    model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, use_safetensors=True
    )
    return model.eval()


@pytest.mark.parametrize("case", CASES)
def test_merged_logits_equal_unmerged_ones(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "BLOCK_BYTES", 1000)  # several blocks for each tensor
    family, changes, settings, tokens, stays_tied = CASES[case]
    model, ids = build_model(family, **changes).eval(), build_batch()
    model.save_pretrained(tmp_path / "base")
    adapter = inject(
        model, AdapterSettings(rank=3, alpha=6.0, **settings), seed=0, token_ids=tokens
    )
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_adapter(adapter, tmp_path / "adapter", base_model="base")
    list(export_merged(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged"))
    merged, again = _load(tmp_path / "merged"), _load(tmp_path / "base")
    with torch.no_grad():
        expected, plain = model(input_ids=ids).logits, again(input_ids=ids).logits
        assert (merged(input_ids=ids).logits - expected).abs().max() < 1e-5
        assert (plain - expected).abs().max() > 1e-2
        load_adapter(again, tmp_path / "adapter")
        assert (again(input_ids=ids).logits - expected).abs().max() < 1e-6
    if stays_tied is not None:
        assert merged.config.tie_word_embeddings is stays_tied


def test_only_the_text_layers_of_a_model_that_sees_images_change(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model = build_family(base, "gemma3 with images")
    train_adapter(model, base, adapter, ("*.language_model.*_proj",))
    list(export_merged(base, adapter, tmp_path / "out"))
    before, after = (load_file(place / "model.safetensors") for place in (base, tmp_path / "out"))
    assert list(before) == list(after)
    for name, tensor in before.items():
        is_changed = name.startswith("language_model.") and name.endswith("_proj.weight")
        assert torch.equal(after[name], tensor) is not is_changed, name
    ids = torch.arange(40, 64)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        assert (_load(tmp_path / "out")(input_ids=ids).logits - expected).abs().max() < 1e-5
        assert (_load(base)(input_ids=ids).logits - expected).abs().max() > 1e-2


def test_a_gguf_export_says_that_images_are_left_out(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    train_adapter(build_family(base, "gemma3 with images"), base, adapter, ("*.vision_tower.*",))
    order = ExportOrder(adapter=str(adapter), target="gguf", out=str(tmp_path / "out"), quant="f16")
    events = list(export.run(order, RunLayout(tmp_path), ScriptedControl(RunLayout(tmp_path))))
    told = [event.message for event in of_type(events, NoticeRaised)]
    assert any("the part that sees images is left out" in message for message in told)
    assert of_type(events, ExportFinished)[0].is_verified
