"""LoftQ starts where base in few bits and adapter together are nearest to the original weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from studio.core.errors import ModelUnusable
from studio.core.recipe.schema import AdapterSettings
from studio.core.weights.adapter_file import SeenBase, read_seen_base
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.inits.loftq import watch
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.models.load import load_model
from tests.engine.lora.tiny_models import build_batch, build_model
from tests.engine.quant.bitsandbytes_referee import load_bitsandbytes
from tests.engine.quant.tiny_quantised import quantise_model

CPU = torch.device("cpu")
SETTINGS = AdapterSettings(rank=8, alpha=4.0, init="loftq", targets=("*.mlp.*", "lm_head"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on disk."""
    path = tmp_path_factory.mktemp("base")
    build_model("llama", hidden_size=64, intermediate_size=128).save_pretrained(path)
    return path


def _inject(folder: Path, settings: AdapterSettings = SETTINGS, kind: str = "nf4") -> Adapter:
    model = load_model(
        folder, torch.float32, CPU, quantisation=kind, watch=partial(watch, settings=settings)
    )
    return inject(model, settings, seed=0)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("variant", ["plain", "rslora", "dora"])
def test_base_and_adapter_together_are_as_near_as_the_rank_allows(
    folder: Path, kind: str, variant: str
) -> None:
    settings = SETTINGS.model_copy(update={"variant": variant})
    stored = load_file(folder / "model.safetensors")
    adapter = _inject(folder, settings, kind)
    for name, module in adapter.modules.items():
        weight = stored[f"{name}.weight"].double().numpy()
        held = module.get_base_matrix().double().numpy()
        found = module.get_merged_weight().double().numpy()
        if name == "lm_head":
            assert np.allclose(held, found, atol=1e-6)
            continue
        left, values, right = np.linalg.svd(weight - held, full_matrices=False)
        expected = held + (left[:, :8] * values[:8]) @ right[:8]
        assert np.allclose(found, expected, atol=2e-6), name
        before, after = np.linalg.norm(weight - held), np.linalg.norm(weight - found)
        assert after == pytest.approx(float(np.linalg.norm(values[8:])), rel=1e-4)
        assert after < 0.9 * before


def test_the_model_starts_nearer_to_the_original(folder: Path) -> None:
    ids = build_batch(rows=2)
    with torch.no_grad():
        original = load_model(folder, torch.float32, CPU)(input_ids=ids).logits
        plain = load_model(folder, torch.float32, CPU, quantisation="nf4")(input_ids=ids).logits
        settings = AdapterSettings(rank=24, alpha=24.0, init="loftq")
        started = _inject(folder, settings).model(input_ids=ids).logits
    assert float((started - original).norm()) < 0.7 * float((plain - original).norm())


@pytest.mark.referee
def test_the_start_equals_pefts_decomposition_of_bitsandbytes_error(folder: Path) -> None:
    functional = load_bitsandbytes().functional
    from peft.utils.loftq_utils import _low_rank_decomposition

    stored = load_file(folder / "model.safetensors")
    for name, module in _inject(folder).modules.items():
        if name == "lm_head":
            continue
        weight = stored[f"{name}.weight"]
        codes, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        theirs = _low_rank_decomposition(
            weight - functional.dequantize_4bit(codes, state), reduced_rank=8
        )
        ours = module.get_merged_weight() - module.get_base_matrix()
        torch.testing.assert_close(ours, theirs["L"] @ theirs["R"], rtol=1e-3, atol=1e-4)


def test_the_file_says_that_it_makes_up_for_the_quantisation(folder: Path, tmp_path: Path) -> None:
    adapter = _inject(folder)
    save_adapter(adapter, tmp_path / "adapter", base_model="tiny")
    assert read_seen_base(tmp_path / "adapter") == SeenBase("nf4", has_residual=True)
    model = load_model(folder, torch.float32, CPU, quantisation="nf4")
    again = load_adapter(model, tmp_path / "adapter")
    assert again.seen == adapter.seen
    ids = build_batch(rows=1)
    torch.testing.assert_close(model(input_ids=ids).logits, adapter.model(input_ids=ids).logits)
    plain = inject(load_model(folder, torch.float32, CPU), AdapterSettings(rank=2), seed=0)
    save_adapter(plain, tmp_path / "plain", base_model="tiny")
    assert read_seen_base(tmp_path / "plain") == SeenBase()


def test_a_base_whose_original_weights_are_unknown_is_refused() -> None:
    model = quantise_model(build_model("llama", hidden_size=64, intermediate_size=128), "nf4")
    with pytest.raises(ModelUnusable, match="not known"):
        inject(model, SETTINGS, seed=0)
