"""Mixes are the sums they claim to be; what is lost is the tail of the singular values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.utils import merge_utils
from torch import nn

from studio.core.errors import AdapterUnusable, FileUnusable, RecipeInvalid
from studio.core.events.measures import BlendFinished
from studio.core.events.types import NoticeRaised
from studio.core.jobs.orders import BlendOrder, BlendPart, Stop
from studio.core.paths import Home
from studio.core.recipe.schema import AdapterSettings
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import RunStore
from studio.core.weights.gains import LayerGain
from studio.engine.jobs import blend
from studio.engine.lora.blend import (
    Mix,
    drop_and_rescale,
    iter_blended,
    merge_ties,
    truncate_matrix,
)
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.lora.stored import StoredAdapter, read_adapter
from tests.engine.lora.tiny_models import build_batch, build_model
from tests.engine.tiny_run import ScriptedControl, listen, of_type

SETTINGS: tuple[dict[str, Any], ...] = (
    {"rank": 3, "alpha": 6.0},
    {"rank": 5, "alpha": 4.0, "variant": "rslora", "targets": ("q_proj", "up_proj")},
)


def _write(folder: Path, seed: int, family: str = "llama", **settings: Any) -> Path:
    adapter = inject(build_model(family), AdapterSettings(**settings), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    save_adapter(adapter, folder, base_model=f"tiny-{family}")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [_write(tmp_path / f"a{seed}", seed, **one) for seed, one in enumerate(SETTINGS)]


def _get_deltas(adapters: Sequence[StoredAdapter], name: str) -> list[torch.Tensor]:
    """The updates of one layer, ``B A`` times the scaling, without those that leave it alone."""
    found = [stored.modules[name] for stored in adapters if name in stored.modules]
    return [module.scaling * (module.lora_b @ module.lora_a) for module in found]


def _run(order: BlendOrder, folder: Path, control: ScriptedControl | None = None) -> list[Any]:
    control = control or ScriptedControl(RunLayout(folder))
    return list(listen(blend.run(order, RunLayout(folder), control), control))


def _order(folders: Sequence[Path], out: Path, **changes: Any) -> BlendOrder:
    weights = (0.7, -0.3)
    parts = [
        BlendPart(adapter=str(folder), weight=weight)
        for folder, weight in zip(folders, weights, strict=False)
    ]
    return BlendOrder.model_validate({"parts": parts, "out": str(out)} | changes)


def test_a_linear_mix_is_the_weighted_sum_of_the_updates(
    folders: list[Path], tmp_path: Path
) -> None:
    events = _run(_order(folders, tmp_path / "out"), tmp_path)
    (finished,) = of_type(events, BlendFinished)
    assert finished.rank == 8
    assert finished.error_fraction == 0
    adapters = [read_adapter(folder) for folder in folders]
    mixed = read_adapter(tmp_path / "out")
    assert mixed.modules.keys() == adapters[0].modules.keys() | adapters[1].modules.keys()
    for name, module in mixed.modules.items():
        weights = [w for w, one in zip((0.7, -0.3), adapters, strict=True) if name in one.modules]
        deltas = _get_deltas(adapters, name)
        expected = sum(w * delta for w, delta in zip(weights, deltas, strict=True))
        assert module.rank == (8 if len(deltas) == 2 else 3)
        torch.testing.assert_close(
            module.scaling * (module.lora_b @ module.lora_a), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_loads_a_mix_and_computes_the_same(folders: list[Path], tmp_path: Path) -> None:
    _run(_order(folders, tmp_path / "out"), tmp_path)
    ids = build_batch()
    ours = build_model("llama")
    load_adapter(ours, tmp_path / "out")
    theirs = peft.PeftModel.from_pretrained(build_model("llama"), str(tmp_path / "out"))
    merged = build_model("llama")
    for folder, weight in zip(folders, (0.7, -0.3), strict=True):
        adapter = load_adapter(merged, folder)
        adapter.detach()
        with torch.no_grad():
            for module in adapter.modules.values():
                module.base.weight.add_(module.get_delta() * weight)
    with torch.no_grad():
        expected = merged.eval()(input_ids=ids).logits
        for model in (ours, theirs):
            found = model.eval()(input_ids=ids).logits
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 4, 8, 20])
def test_shrinking_by_svd_loses_the_tail_of_the_singular_values(
    rank: int, folders: list[Path]
) -> None:
    adapters = [read_adapter(folder) for folder in folders]
    for name, module in iter_blended(adapters, (1.0, 0.5), Mix("svd", rank)):
        deltas = _get_deltas(adapters, name)
        exact = sum(w * delta for w, delta in zip((1.0, 0.5), deltas, strict=False))
        values = torch.linalg.svdvals(exact.double())
        tail = float(values[rank:].square().sum().sqrt())
        assert module.lost == pytest.approx(tail, abs=1e-5)
        assert module.size == pytest.approx(float(values.square().sum().sqrt()), rel=1e-5)
        found = module.lora_b @ module.lora_a
        assert float((found - exact).norm()) == pytest.approx(tail, abs=1e-4)
        assert module.lora_a.shape[0] <= min(rank, 8)


@pytest.mark.referee
@pytest.mark.parametrize("density", [0.2, 0.5, 0.9])
def test_ties_equals_pefts(density: float) -> None:
    generator = torch.Generator().manual_seed(0)
    deltas = [torch.randn(12, 17, generator=generator) for _ in range(3)]
    weights = (0.5, 1.0, 0.25)
    found = merge_ties(deltas, weights, density)
    expected = merge_utils.ties(deltas, torch.tensor(weights), density)
    # where everything was dropped peft counts differently, but the value is 0 either way
    agreed = torch.stack([merge_utils.prune(d, density, "magnitude") for d in deltas])
    is_clear = agreed.sum(dim=0) != 0
    torch.testing.assert_close(found[is_clear], expected[is_clear])
    assert not found[~is_clear].any()


def test_dropping_keeps_the_share_and_the_expected_value() -> None:
    generator = torch.Generator().manual_seed(0)
    delta = torch.ones(200, 300)
    found = drop_and_rescale(delta, 0.3, generator)
    assert set(found.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.3)}
    assert float((found != 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(found.mean()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("method", ["ties", "dare"])
def test_full_density_and_rank_hold_the_whole_mix(method: str, folders: list[Path]) -> None:
    adapters = [read_adapter(folder) for folder in folders]
    mix = Mix(method, 32, density=1.0)
    for name, module in iter_blended(adapters, (0.4, 0.6), mix):
        deltas = _get_deltas(adapters, name)
        weights = (0.4, 0.6)[: len(deltas)]
        expected = (
            merge_ties(deltas, weights, 1.0)
            if method == "ties"
            else sum(w * delta for w, delta in zip(weights, deltas, strict=True))
        )
        torch.testing.assert_close(module.lora_b @ module.lora_a, expected, rtol=0, atol=1e-5)
        assert module.lost == pytest.approx(0, abs=1e-5)


def test_large_updates_are_cut_nearly_as_well_as_possible_and_tell_the_real_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(260, 6, generator=generator) @ torch.randn(6, 300, generator=generator)
    delta = drop_and_rescale(low, 0.5, generator)  # strong directions over noise
    cut = truncate_matrix(delta, 4)
    values = torch.linalg.svdvals(delta.double())
    best = float(values[4:].norm())
    found = float((delta - cut.lora_b @ cut.lora_a).norm())
    assert cut.lost == pytest.approx(found, rel=1e-5)
    assert best <= cut.lost * (1 + 1e-6) <= 1.005 * best
    assert cut.size == pytest.approx(float(values.norm()))
    assert cut.values == pytest.approx(values[:4].tolist(), rel=0.01)


def test_a_fader_at_zero_does_not_change_what_dare_drops_of_others(folders: list[Path]) -> None:
    adapters = [read_adapter(folder) for folder in folders]

    def mix(*weights: float) -> torch.Tensor:
        found = dict(iter_blended(adapters, weights, Mix("dare", 40, 0.5)))
        module = found["model.layers.0.self_attn.q_proj"]
        return module.lora_b @ module.lora_a

    torch.testing.assert_close(mix(1.0, 1.0), mix(1.0, 0.0) + mix(0.0, 1.0), rtol=0, atol=1e-5)


def test_the_seed_decides_what_dare_drops(folders: list[Path]) -> None:
    adapters = [read_adapter(folder) for folder in folders]

    def mix(seed: int) -> torch.Tensor:
        _, module = next(iter_blended(adapters, (1.0, 1.0), Mix("dare", None, 0.5, seed)))
        return module.lora_b @ module.lora_a

    assert torch.equal(mix(1), mix(1))
    assert not torch.allclose(mix(1), mix(2))


def test_token_tables_are_mixed_as_well(tmp_path: Path) -> None:
    settings = {"rank": 2, "targets": ("embed_tokens", "q_proj")}
    parts = [_write(tmp_path / f"t{seed}", seed, **settings) for seed in (1, 2)]
    _run(_order(parts, tmp_path / "out"), tmp_path)
    mixed = load_adapter(build_model("llama"), tmp_path / "out")
    deltas = []
    for folder in parts:
        adapter = load_adapter(build_model("llama"), folder)
        deltas.append(adapter.modules["model.embed_tokens"].get_delta())
    torch.testing.assert_close(
        mixed.modules["model.embed_tokens"].get_delta(), 0.7 * deltas[0] - 0.3 * deltas[1]
    )


def test_what_cannot_be_mixed_is_refused_and_nothing_is_written(
    folders: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dora = _write(tmp_path / "dora", 3, rank=2, variant="dora")
    with pytest.raises(AdapterUnusable, match="DoRA"):
        _run(_order([folders[0], dora], out), tmp_path)
    model = build_model("llama", hidden_size=64)
    wide = inject(model, AdapterSettings(rank=2), seed=0)
    save_adapter(wide, tmp_path / "wide", base_model="wide")
    with pytest.raises(AdapterUnusable, match="made for another model"):
        _run(_order([folders[0], tmp_path / "wide"], out), tmp_path)
    with pytest.raises(RecipeInvalid, match="sum of the ranks"):
        _run(_order(folders, out, rank=2), tmp_path)
    with pytest.raises(FileUnusable, match="not empty"):
        _run(_order(folders, folders[0]), tmp_path)
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(lambda events: len(events) > 2, Stop())
    _run(_order(folders, out), tmp_path, control)
    assert not out.exists()


def test_different_names_of_the_base_are_said(folders: list[Path], tmp_path: Path) -> None:
    path = folders[1] / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "b"}))
    events = _run(_order(folders, tmp_path / "out"), tmp_path)
    assert [notice.code for notice in of_type(events, NoticeRaised)] == ["bases_differ"]


def test_layers_count_as_strongly_as_they_were_told(folders: list[Path], tmp_path: Path) -> None:
    gains = [LayerGain(layers="0", factor=0.5), LayerGain(part="mlp", factor=0.0)]
    parts = [BlendPart(adapter=str(folders[0]), weight=0.8, gains=tuple(gains))]
    _run(BlendOrder(parts=tuple(parts), out=str(tmp_path / "out")), tmp_path)
    before, mixed = read_adapter(folders[0]), read_adapter(tmp_path / "out")
    assert set(mixed.modules) == {name for name in before.modules if "mlp" not in name}
    for name, module in mixed.modules.items():
        factor = 0.4 if ".layers.0." in name else 0.8
        (delta,) = _get_deltas([before], name)
        torch.testing.assert_close(module.lora_b @ module.lora_a, factor * delta)
    silent = BlendPart(adapter=str(folders[0]), weight=0.0)
    with pytest.raises(RecipeInvalid, match="every strength is 0"):
        _run(BlendOrder(parts=(silent,), out=str(tmp_path / "none")), tmp_path)


def test_convolutions_are_mixed_as_well(tmp_path: Path) -> None:
    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3))

    folders = []
    for seed in (1, 2):
        adapter = inject(build(), AdapterSettings(rank=2, targets=("0", "2")), seed=seed)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.normal_()
        save_adapter(adapter, tmp_path / f"c{seed}", base_model="conv")
        folders.append(tmp_path / f"c{seed}")
    _run(_order(folders, tmp_path / "out", method="svd", rank=4), tmp_path)
    mixed = load_adapter(build(), tmp_path / "out")
    deltas = [load_adapter(build(), folder).modules["2"].get_delta() for folder in folders]
    torch.testing.assert_close(
        mixed.modules["2"].get_delta(), 0.7 * deltas[0] - 0.3 * deltas[1], rtol=1e-4, atol=1e-5
    )


def test_what_is_trained_in_full_is_refused_by_its_name(tmp_path: Path) -> None:
    model = build_model("llama")
    adapter = inject(model, AdapterSettings(rank=2, extra_modules=("lm_head",)), seed=0)
    save_adapter(adapter, tmp_path / "head", base_model="x")
    with pytest.raises(AdapterUnusable, match=r"trains lm_head\.weight in full"):
        _run(_order([tmp_path / "head"], tmp_path / "out"), tmp_path)


def test_a_mix_can_join_the_history(folders: list[Path], tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    wishes = {"out": None, "home": str(home.folder), "name": "Half and half"}
    order = _order(folders, tmp_path).model_copy(update=wishes)
    (finished,) = of_type(_run(order, home.jobs / "x"), BlendFinished)
    (record,) = RunStore(home).list()
    assert (record.name, record.status) == ("Half and half", "finished")
    assert str(record.folder) == finished.run
    assert read_adapter(Path(finished.folder)).modules.keys()
    with pytest.raises(RecipeInvalid, match="no place to go"):
        _run(order.model_copy(update={"home": None}), tmp_path)
