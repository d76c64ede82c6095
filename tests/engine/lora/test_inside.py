"""Sizes, ranks and likeness of updates equal those of the whole matrices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.core.events.measures import AdapterMeasured, SimilarityMeasured
from studio.core.jobs.orders import InsideOrder
from studio.core.recipe.schema import AdapterSettings
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import inside
from studio.engine.lora.inject import inject
from studio.engine.lora.inside import compute_effective_rank, compute_norm, compute_similarity
from studio.engine.lora.state import save_adapter
from studio.engine.lora.stored import StoredAdapter, read_adapter
from tests.engine.lora.tiny_models import build_model
from tests.engine.tiny_run import ScriptedControl, of_type


def _write(folder: Path, seed: int, rank: int) -> StoredAdapter:
    adapter = inject(build_model("llama"), AdapterSettings(rank=rank, alpha=6.0), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    save_adapter(adapter, folder, base_model="x")
    return read_adapter(folder)


def test_small_matrices_say_the_same_as_whole_updates(tmp_path: Path) -> None:
    one, other = _write(tmp_path / "a", 1, 3), _write(tmp_path / "b", 2, 5)
    vectors = []
    for stored in (one, other):
        parts = []
        for name in sorted(stored.modules):
            module = stored.modules[name]
            delta = (module.lora_b @ module.lora_a * module.scaling).double()
            assert compute_norm(module) == pytest.approx(float(delta.norm()), rel=1e-5)
            values = torch.linalg.svdvals(delta)[: module.rank]
            shares = values / values.sum()
            expected = float(torch.exp(-(shares * shares.log()).sum()))
            assert compute_effective_rank(module) == pytest.approx(expected, rel=1e-4)
            parts.append(delta.flatten())
        vectors.append(torch.cat(parts))
    cosine = float(torch.nn.functional.cosine_similarity(*vectors, dim=0))
    assert compute_similarity(one, other) == pytest.approx(cosine, abs=1e-6)
    assert compute_similarity(one, one) == pytest.approx(1.0)


def test_the_job_measures_every_layer_and_every_pair(tmp_path: Path) -> None:
    stored = {name: _write(tmp_path / name, seed, 2) for seed, name in enumerate(("a", "b"), 1)}
    folders = {name: str(one.folder) for name, one in stored.items()}
    layout = RunLayout(tmp_path)
    order = InsideOrder(adapters=folders)
    events = list(inside.run(order, layout, ScriptedControl(layout)))
    measured = of_type(events, AdapterMeasured)
    assert [one.adapter for one in measured] == ["a", "b"]
    assert {module.name for module in measured[0].modules} == set(stored["a"].modules)
    (pair,) = of_type(events, SimilarityMeasured)
    assert pair.cosine == pytest.approx(compute_similarity(stored["a"], stored["b"]))
