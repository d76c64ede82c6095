"""Rows with different adapters over a base in few bits answer as merged models in full size do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.core.recipe.schema import AdapterSettings
from studio.engine.held.layer import QuantisedLayer
from studio.engine.infer.generate import Generation, Prompt
from studio.engine.infer.layout import lay_out_for_rows
from studio.engine.infer.sampling import Sampling
from studio.engine.lora.inject import inject
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.tiny_models import build_batch, build_model
from tests.engine.quant.tiny_quantised import build_pair, quantise_model

WIDE = {"hidden_size": 64, "intermediate_size": 128}
ADAPTERS = {
    "plain": {"rank": 3, "alpha": 8.0},
    "lengths": {"rank": 5, "alpha": 8.0, "variant": "dora"},
    "few": {"rank": 2, "alpha": 4.0, "variant": "rslora", "targets": ("q_proj", "v_proj")},
}


def _write_adapters(folder: Path, kind: str, family: str) -> dict[str, Path]:
    for seed, (name, settings) in enumerate(ADAPTERS.items()):
        model = quantise_model(build_model(family, **WIDE), kind)
        adapter = inject(model, AdapterSettings.model_validate(settings), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter_name, parameter in adapter.named_parameters():
                size = 0.05 if parameter_name.endswith("magnitude") else 0.2
                parameter.add_(torch.randn(parameter.shape, generator=generator) * size)
        save_adapter(adapter, folder / name, base_model="tiny")
    return {name: folder / name for name in ADAPTERS}


@pytest.mark.parametrize("family", ["llama", "phi"])
@pytest.mark.parametrize("kind", ["nf4", "int8"])
@torch.no_grad()
def test_rows_over_a_base_in_few_bits_equal_merged_models(
    kind: str, family: str, tmp_path: Path
) -> None:
    folders = _write_adapters(tmp_path, kind, family)
    quantised, _ = build_pair(build_model(family, **WIDE), kind)
    lay_out_for_rows(quantised.eval())
    assert any(isinstance(module, QuantisedLayer) for module in quantised.modules())
    stack = AdapterStack(quantised)
    for name, folder in folders.items():
        stack.load(name, folder)
    rows = [None, *folders, "plain"]
    ids = build_batch(rows=1)
    with stack.rows([RowChoice(name) for name in rows]):
        together = quantised(input_ids=ids.expand(len(rows), -1)).logits
    sampling = Sampling(max_new_tokens=12)
    prompts = [Prompt(tuple(ids[0].tolist()), sampling, RowChoice(name)) for name in rows]
    generation = Generation(quantised, prompts, (), stack=stack)
    answers: list[list[int]] = [[] for _ in rows]
    while generation.open_rows:
        for row, token in generation.advance().items():
            answers[row].append(token)
    for row, name in enumerate(rows):
        with stack.rows([RowChoice(name)]):
            alone = quantised(input_ids=ids).logits[0]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-5)
        merged = _merge(kind, family, folders.get(name or ""))
        expected = merged.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert answers[row] == expected[0, ids.shape[1] :].tolist()
    assert len({tuple(answer) for answer in answers}) > 2


def _merge(kind: str, family: str, folder: Path | None) -> torch.nn.Module:
    """Returns the model with its unfolded weights in full size, the adapter in them."""
    _, dense = build_pair(build_model(family, **WIDE), kind)
    if folder is not None:
        adapter = load_adapter(dense, folder)
        adapter.detach()
        for module in adapter.modules.values():
            module.base.weight.copy_(module.get_merged_weight())
    return dense.eval()
