"""Base and adapter in llama.cpp answer as base and adapter do here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from studio.core.errors import AdapterUnusable
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.engine.export.gguf.lora import export_lora_gguf
from studio.engine.lora.inject import inject
from studio.engine.lora.state import save_adapter
from tests.engine.export.llama_referee import compute_logits, measure_error, open_model
from tests.engine.export.test_gguf_model import answer, write_file
from tests.engine.export.tiny_families import build_family

_IDS = list(range(40, 64))


def train_adapter(
    model: nn.Module, base: Path, folder: Path, targets: object = "all-linear", **settings: object
) -> None:
    """Gives ``model`` an adapter with random weights and writes it to ``folder``."""
    values = {"rank": 4, "alpha": 6.0, "targets": targets} | settings
    adapter = inject(model, AdapterSettings.model_validate(values), seed=0)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    save_adapter(adapter, folder, base_model=str(base))
    model.eval()


def _write_lora(base: Path, adapter: Path, folder: Path) -> Path:
    steps = export_lora_gguf(base, adapter, folder)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return folder / end.value[0]


@pytest.mark.referee
@pytest.mark.parametrize(
    ("family", "targets", "bound"),
    [
        ("llama", "all-linear", 1e-5),
        ("llama", ("lm_head", "q_proj"), 1e-5),
        ("qwen3", "all-linear", 1e-5),
        ("phi3", "all-linear", 1e-5),
        ("qwen3_moe", ("q_proj", "*.experts.*"), 1e-5),
        ("qwen3_moe", ("*.experts.down_proj",), 1e-5),
        ("gemma3 with images", ("*.language_model.*_proj",), 1e-3),
        ("gpt2", "all-linear", 3e-3),
    ],
)
def test_llama_cpp_adds_the_adapter_as_we_do(
    family: str, targets: object, bound: float, tmp_path: Path
) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model = build_family(base, family)
    plain = answer(model, _IDS)
    override = AdapterOverride(match="*.1.*", rank=2, alpha=7.0)
    train_adapter(model, base, adapter, targets, overrides=(override,))
    expected = answer(model, _IDS)
    assert measure_error(expected, plain) > 0.05
    path = write_file(base, tmp_path / "model", "f32")
    lora = _write_lora(base, adapter, tmp_path / "lora")
    assert measure_error(expected, compute_logits(open_model(path, lora=lora), _IDS)) < bound


@pytest.mark.referee
@pytest.mark.parametrize(
    "family", ["llama", "llama tied", "gpt2", "qwen3", "gemma3", "gemma3 with images"]
)
@pytest.mark.parametrize("variant", ["plain", "dora"])
def test_the_merged_file_answers_as_base_and_adapter(
    family: str, variant: str, tmp_path: Path
) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model = build_family(base, family)
    train_adapter(model, base, adapter, "all-linear", variant=variant)
    path = write_file(base, tmp_path / "merged", "f32", adapter)
    # GELU is looked up in a table of 16-bit numbers there.
    bound = 2e-3 if family.startswith(("gpt2", "gemma3")) else 1e-5
    assert measure_error(answer(model, _IDS), compute_logits(open_model(path), _IDS)) < bound


@pytest.mark.referee
def test_an_output_table_of_its_own_is_written_where_the_adapter_parts_it(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model = build_family(base, "llama tied")
    train_adapter(model, base, adapter, ("lm_head",))
    path = write_file(base, tmp_path / "merged", "f32", adapter)
    assert measure_error(answer(model, _IDS), compute_logits(open_model(path), _IDS)) < 1e-5


@pytest.mark.parametrize(
    ("family", "targets", "variant", "words"),
    [
        ("llama", "all-linear", "dora", "DoRA"),
        ("llama", ("embed_tokens",), "plain", "input table"),
        ("llama tied", ("lm_head",), "plain", "shares with its input"),
        ("gemma3 with images", ("*.vision_tower.*",), "plain", "sees images"),
    ],
)
def test_what_llama_cpp_cannot_add_is_refused_in_words(
    family: str, targets: object, variant: str, words: str, tmp_path: Path
) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    train_adapter(build_family(base, family), base, adapter, targets, variant=variant)
    with pytest.raises(AdapterUnusable, match=words):
        _write_lora(base, adapter, tmp_path / "lora")
    assert not (tmp_path / "lora").exists()
