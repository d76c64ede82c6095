"""Sizes, ranks and likeness of updates equal those of the whole matrices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from studio.core.events.measures import AdapterMeasured, InsideProgressed, SimilarityMeasured
from studio.core.events.types import NoticeRaised
from studio.core.jobs.orders import InsideOrder
from studio.core.recipe.schema import AdapterSettings
from studio.core.runs.layout import RunLayout
from studio.core.weights.matching import split_layer
from studio.engine.jobs import inside
from studio.engine.lora.inject import inject
from studio.engine.lora.inside import (
    compute_layer_similarities,
    compute_norm,
    compute_ranks,
    compute_similarity,
    multiply,
)
from studio.engine.lora.state import save_adapter
from studio.engine.lora.stored import StoredAdapter, read_adapter
from tests.engine.lora.tiny_models import build_model
from tests.engine.tiny_run import ScriptedControl, of_type


def _write(folder: Path, seed: int, rank: int, base: str = "x") -> StoredAdapter:
    adapter = inject(build_model("llama"), AdapterSettings(rank=rank, alpha=6.0), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    save_adapter(adapter, folder, base_model=base)
    return read_adapter(folder)


def test_small_matrices_say_the_same_as_whole_updates(tmp_path: Path) -> None:
    one, other = _write(tmp_path / "a", 1, 3), _write(tmp_path / "b", 2, 5)
    vectors, layers = [], []
    for stored in (one, other):
        parts: dict[int | None, list[torch.Tensor]] = {}
        for name in sorted(stored.modules):
            module = stored.modules[name]
            delta = (module.lora_b @ module.lora_a * module.scaling).double()
            assert compute_norm(module) == pytest.approx(float(delta.norm()), rel=1e-5)
            values = torch.linalg.svdvals(delta)[: module.rank]
            shares = values / values.sum()
            ranks = compute_ranks(module)
            expected = float(torch.exp(-(shares * shares.log()).sum()))
            assert ranks.effective == pytest.approx(expected, rel=1e-4)
            stable = float(delta.norm() ** 2 / torch.linalg.matrix_norm(delta, 2) ** 2)
            assert ranks.stable == pytest.approx(stable, rel=1e-4)
            parts.setdefault(split_layer(name)[0], []).append(delta.flatten())
        layers.append({layer: torch.cat(found) for layer, found in parts.items()})
        vectors.append(torch.cat([part for found in parts.values() for part in found]))
    cosine = float(torch.nn.functional.cosine_similarity(*vectors, dim=0))
    assert compute_similarity(one, other) == pytest.approx(cosine, abs=1e-6)
    assert compute_similarity(one, one) == pytest.approx(1.0)
    by_layer = compute_layer_similarities(one, other)
    assert list(by_layer) == sorted(layers[0], key=lambda layer: layer or 0)
    for layer, found in by_layer.items():
        wanted = torch.nn.functional.cosine_similarity(layers[0][layer], layers[1][layer], dim=0)
        assert found == pytest.approx(float(wanted), abs=1e-6)


def test_stacked_experts_are_layers_of_their_own(tmp_path: Path) -> None:
    module = next(iter(_write(tmp_path, 1, 6).modules.values()))
    stack = replace(module, rank=2)  # three experts: A expert by expert, B rank by rank
    deltas = torch.stack(
        [
            stack.lora_b[:, expert::3] @ stack.lora_a[2 * expert : 2 * expert + 2]
            for expert in range(3)
        ]
    ).double() * stack.scaling  # fmt: skip
    assert compute_norm(stack) == pytest.approx(float(deltas.norm()), rel=1e-6)
    assert multiply(stack, stack) == pytest.approx(float(deltas.norm()) ** 2, rel=1e-6)
    stable = [
        float(delta.norm() ** 2 / torch.linalg.matrix_norm(delta, 2) ** 2) for delta in deltas
    ]
    assert compute_ranks(stack).stable == pytest.approx(sum(stable) / 3, rel=1e-5)


def test_the_job_measures_every_layer_and_every_pair_beside_the_base(tmp_path: Path) -> None:
    model = build_model("llama")
    base = tmp_path / "base"
    model.save_pretrained(base)
    stored = {name: _write(tmp_path / name, seed, 2) for seed, name in enumerate(("a", "b"), 1)}
    folders = {name: str(one.folder) for name, one in stored.items()}
    layout = RunLayout(tmp_path)
    order = InsideOrder(adapters=folders, base=str(base))
    events = list(inside.run(order, layout, ScriptedControl(layout)))
    measured = of_type(events, AdapterMeasured)
    assert [one.adapter for one in measured] == ["a", "b"]
    assert {module.name for module in measured[0].modules} == set(stored["a"].modules)
    weights = dict(model.named_parameters())
    for look in measured[1].modules:
        norm = float(weights[f"{look.name}.weight"].detach().norm())
        assert look.base_norm == pytest.approx(norm, rel=1e-5)
        assert look.relative_norm == pytest.approx(look.norm / norm, rel=1e-5)
    (pair,) = of_type(events, SimilarityMeasured)
    assert pair.cosine == pytest.approx(compute_similarity(stored["a"], stored["b"]))
    assert [one.layer for one in pair.layers] == [0, 1]
    last = of_type(events, InsideProgressed)[-1]
    assert last.done_modules == last.total_modules == 2 * len(stored["a"].modules)
    assert not of_type(events, NoticeRaised)


def test_without_the_base_all_else_is_measured_and_it_says_so(tmp_path: Path) -> None:
    folder = _write(tmp_path / "a", 1, 2, base=str(tmp_path / "gone")).folder
    layout = RunLayout(tmp_path)
    order = InsideOrder(adapters={"a": str(folder)})
    events = list(inside.run(order, layout, ScriptedControl(layout)))
    (notice,) = of_type(events, NoticeRaised)
    assert "gone" in notice.message
    assert "beside the base's weights are missing" in notice.message
    (measured,) = of_type(events, AdapterMeasured)
    assert all(look.norm and look.relative_norm is None for look in measured.modules)
