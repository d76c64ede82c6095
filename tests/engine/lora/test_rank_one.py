"""The smallest adapter of every variant and start learns, comes back and merges."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from studio.core.recipe.fields import get_field_table
from studio.core.recipe.schema import AdapterSettings
from studio.engine.export.merged import export_merged
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.tiny_models import build_batch, build_model, compute_loss

_TABLE = get_field_table()
VARIANTS = [choice.value for choice in _TABLE["adapter.variant"].choices if choice.is_available]
STARTS = [choice.value for choice in _TABLE["adapter.init"].choices if choice.is_available]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("start", STARTS)
def test_rank_one_learns_comes_back_and_merges_to_the_same_logits(
    start: str, variant: str, family: str, tmp_path: Path
) -> None:
    """Over a base in full size loftq starts as nothing; over a quantised one it is tested apart."""
    model, ids = build_model(family), build_batch()
    model.save_pretrained(tmp_path / "base")
    before = model.eval()(input_ids=ids).logits
    settings = AdapterSettings(rank=1, alpha=2.0, variant=variant, init=start)
    adapter = inject(model, settings, seed=0)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-4, atol=1e-4)
    pairs = [(one.lora_A, one.lora_B) for one in adapter.modules.values()]
    assert all(1 in a.shape and 1 in b.shape for a, b in pairs)
    optimizer, losses = torch.optim.AdamW(adapter.parameters(), lr=1e-2), []
    for _ in range(4):
        loss = compute_loss(model, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01
    save_adapter(adapter, tmp_path / "adapter", base_model="base")
    list(export_merged(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged"))
    merged, reloaded = (
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name).eval()
        for name in ("merged", "base")
    )
    load_adapter(reloaded, tmp_path / "adapter")
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        for other in (merged, reloaded):
            torch.testing.assert_close(other(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)
