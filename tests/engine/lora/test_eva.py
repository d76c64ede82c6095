"""Adapters that start from what the layers see in the data equal peft's, found piece by piece."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core.events.types import NoticeRaised, RunFinished
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.engine.data.collate import IGNORED, MicroBatch, collate_packed
from studio.engine.data.example import Example
from studio.engine.lora.inits.eva import MOST_BATCHES, MainDirections, start_from_inputs
from studio.engine.lora.inject import inject
from tests.engine.lora.tiny_models import build_model
from tests.engine.tiny_run import build_base, build_run, train_run, write_chats

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def _make_rows(count: int, width: int = 24, seed: int = 0) -> torch.Tensor:
    """Rows whose variance falls by a third from direction to direction."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    spread = 0.67 ** torch.arange(width)
    return torch.randn(count, width, generator=generator) * spread @ turn + 0.3


def _make_batch(seed: int, tokens: int = 32) -> MicroBatch:
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, 64, tokens).astype(np.int64)
    return collate_packed([Example(ids, np.arange(tokens) % 3 > 0, 0, 0, 0)])


def test_directions_found_in_one_piece_are_the_exact_ones() -> None:
    rows = _make_rows(400)
    found = MainDirections(6)
    found.add(rows)
    exact = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:6]
    assert found.directions is not None
    cosines = (found.directions * exact).sum(1).abs()
    torch.testing.assert_close(cosines, torch.ones(6), rtol=1e-4, atol=1e-4)


@pytest.mark.referee
def test_directions_found_in_pieces_equal_pefts() -> None:
    pca = pytest.importorskip("peft.utils.incremental_pca")
    reference = pca.IncrementalPCA(n_components=5)
    found = MainDirections(5)
    for rows in _make_rows(600).split(100):
        reference.partial_fit(rows.clone())
        found.add(rows)
    assert found.directions is not None
    cosines = (found.directions * reference.components_).sum(1).abs()
    torch.testing.assert_close(cosines, torch.ones(5), rtol=2e-3, atol=2e-3, check_dtype=False)


def test_too_few_rows_change_nothing() -> None:
    found = MainDirections(3)
    found.add(torch.ones(1, 8))
    assert found.directions is None


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_start_spans_what_pefts_start_spans(family: str) -> None:
    peft = pytest.importorskip("peft")
    model = build_model(family).eval()
    batches = [_make_batch(seed) for seed in range(4)]
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules="all-linear",
        init_lora_weights="eva",
        eva_config=peft.EvaConfig(rho=1.0),
        task_type="CAUSAL_LM",
        fan_in_fan_out=family == "gpt2",
    )
    rows = [
        # peft looks at the positions that have a label; ours at those that predict one
        {"input_ids": one.ids, "labels": torch.where(one.targets == IGNORED, -100, one.ids)}
        for one in batches
    ]
    copied = copy.deepcopy(model)
    exact = _find_inputs(copied, rows)
    adapter = inject(model, AdapterSettings(rank=4, alpha=8.0, init="eva"), seed=1)
    start_from_inputs(adapter, batches, lambda batch: model(input_ids=batch.ids))
    reference = peft.get_peft_model(copied, config, low_cpu_mem_usage=True)
    peft.initialize_lora_eva_weights(reference, rows, show_progress_bar=False)
    for name, module in adapter.modules.items():
        assert torch.count_nonzero(module.lora_B) == 0
        theirs = reference.get_submodule(f"base_model.model.{name}").lora_A["default"].weight
        inputs = exact[name]
        # both keep nearly as much of the inputs' variance as four directions can
        best = torch.linalg.svdvals(inputs - inputs.mean(0))[:4].square().sum()
        ours = ((inputs - inputs.mean(0)) @ module.lora_A.detach().T).square().sum()
        other = ((inputs - inputs.mean(0)) @ theirs.detach().float().T).square().sum()
        assert ours >= 0.999 * best, name
        assert 0.9 * best <= other <= 1.001 * best, name


def _find_inputs(
    model: torch.nn.Module, rows: list[dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """Returns what each linear layer sees at the positions with a label."""
    seen: dict[str, list[torch.Tensor]] = {}
    handles = [
        module.register_forward_pre_hook(
            lambda _m, inputs, name=name: seen.setdefault(name, []).append(inputs[0].flatten(0, -2))
        )
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D")
    ]
    with torch.no_grad():
        for row in rows:
            model(input_ids=row["input_ids"])
    for handle in handles:
        handle.remove()
    picked = [(row["labels"] != -100).flatten() for row in rows]
    return {
        name: torch.cat([one[mask] for one, mask in zip(parts, picked, strict=True)])
        for name, parts in seen.items()
    }


def test_layers_keep_their_own_ranks_and_the_model_computes_as_its_base() -> None:
    model = build_model("llama").train()
    ids = _make_batch(0).ids
    before = model(input_ids=ids).logits
    override = (AdapterOverride(match="*mlp*", rank=7),)
    settings = AdapterSettings(rank=3, init="eva", overrides=override)
    adapter = inject(model, settings, seed=1)
    batches = (_make_batch(seed) for seed in range(100))
    seen = start_from_inputs(adapter, batches, lambda batch: model(input_ids=batch.ids))
    assert 2 <= seen <= MOST_BATCHES
    torch.testing.assert_close(model(input_ids=ids).logits, before)
    assert model.training
    assert {len(module.lora_A) for module in adapter.modules.values()} == {3, 7}
    for module in adapter.modules.values():
        gram = module.lora_A.detach() @ module.lora_A.detach().T
        torch.testing.assert_close(gram, torch.eye(module.rank), rtol=1e-4, atol=1e-4)


def test_a_run_starts_from_its_data_once_and_says_so(tmp_path: Path) -> None:
    base, data = build_base(tmp_path / "base"), write_chats(tmp_path / "chats.jsonl")
    layout = build_run(tmp_path / "run", base, data, adapter={"init": "eva", "rank": 4}, steps=2)
    events = train_run(layout)
    notices = [e for e in events if isinstance(e, NoticeRaised) and e.code == "start_from_data"]
    assert len(notices) == 1
    assert isinstance(events[-1], RunFinished)
