"""Rows of one batch use different adapters, and each is computed as if it were alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from studio.core.errors import AdapterUnusable, StudioError
from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.inject import inject
from studio.engine.lora.routing import RowChoice, RowsLost
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.stacked import StackedModule
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.tiny_models import build_batch, build_model

SETTINGS: dict[str, dict[str, Any]] = {
    "small": {"rank": 2, "alpha": 8.0, "targets": "attention"},
    "large": {"rank": 9, "alpha": 4.0, "variant": "rslora"},
    "lengths": {"rank": 3, "alpha": 6.0, "variant": "dora"},
    "lengths2": {"rank": 4, "alpha": 9.0, "variant": "dora", "layers": "1"},
}
TABLES: dict[str, dict[str, Any]] = {
    "table": {"rank": 3, "targets": ("embed_tokens", "lm_head", "up_proj")},
    "table2": {"rank": 2, "targets": ("embed_tokens",), "variant": "dora"},
    "whole": {"rank": 2, "targets": ("q_proj",), "extra_modules": ("lm_head", "*.1.mlp")},
}


def _write(
    folder: Path, family: str, seed: int, token_ids: tuple[int, ...] = (), **settings: Any
) -> Path:
    model = build_model(family)
    adapter = inject(model, AdapterSettings(**settings), seed=seed, token_ids=token_ids)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * 0.1 * (1 + parameter.abs().mean()))
    save_adapter(adapter, folder, base_model="tiny")
    return folder


def _write_all(folder: Path, family: str, every: dict[str, dict[str, Any]]) -> dict[str, Path]:
    return {
        name: _write(folder / name, family, seed, **settings)
        for seed, (name, settings) in enumerate(every.items())
    }


@torch.no_grad()
def _alone(family: str, folder: Path | None, ids: torch.Tensor) -> torch.Tensor:
    model = build_model(family).eval()
    if folder is not None:
        load_adapter(model, folder)
    model.eval()
    logits: torch.Tensor = model(input_ids=ids).logits
    return logits


@torch.no_grad()
def _together(
    model: torch.nn.Module, stack: AdapterStack, choices: list[RowChoice], ids: torch.Tensor
) -> torch.Tensor:
    with stack.rows(choices):
        logits: torch.Tensor = model(input_ids=ids).logits
    return logits


def _check_rows(family: str, folders: dict[str, Path]) -> None:
    model = build_model(family).eval()
    stack = AdapterStack(model)
    for name, folder in folders.items():
        stack.load(name, folder)
    names: list[str | None] = [None, *folders, None, next(iter(folders))]
    ids = build_batch(rows=len(names))
    found = _together(model, stack, [RowChoice(name) for name in names], ids)
    for row, name in enumerate(names):
        expected = _alone(family, folders[name] if name else None, ids[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], expected, rtol=0, atol=1e-5)
        same = _together(model, stack, [RowChoice(name)] * len(ids), ids)
        torch.testing.assert_close(same[row], expected[0], rtol=0, atol=1e-5)
        if name is not None:
            base = _alone(family, None, ids[row : row + 1])
            assert float((expected - base).abs().max()) > 0.01


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "phi", "gpt_neox"])
def test_rows_of_mixed_adapters_equal_each_alone(family: str, tmp_path: Path) -> None:
    every = SETTINGS if family == "llama" else {k: SETTINGS[k] for k in ("large", "lengths")}
    _check_rows(family, _write_all(tmp_path, family, every))


def test_adapters_of_one_rank_may_stand_in_any_order_with_gaps(tmp_path: Path) -> None:
    """Neighbours are computed in one batched product, others in one of their own."""
    model = build_model("llama").eval()
    stack = AdapterStack(model)
    folders = {}
    for seed, name in enumerate("abcd"):
        rank, variant = (3 if name == "c" else 2), ("dora" if name == "d" else "plain")
        folders[name] = _write(tmp_path / name, "llama", seed, rank=rank, variant=variant)
        stack.load(name, folders[name])
    for rows in (
        [("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)],
        [(None, 1.0), ("a", 0.5), ("b", 0.5), ("d", 1.0)],
        [("a", 0.5), ("b", 1.5), ("b", 1.0), ("a", 0.0)],
        [("d", 1.0), (None, 1.0), ("b", 0.25)],
    ):
        ids = build_batch(rows=len(rows))
        found = _together(model, stack, [RowChoice(*row) for row in rows], ids)
        for place, (name, strength) in enumerate(rows):
            alone = ids[place : place + 1]
            same = _together(model, stack, [RowChoice(name, strength)], alone)
            torch.testing.assert_close(found[place], same[0], rtol=0, atol=1e-5)
            if strength == 1.0:
                expected = _alone("llama", folders[name] if name else None, alone)
                torch.testing.assert_close(same, expected, rtol=0, atol=1e-5)


def test_rows_equal_each_alone_where_weights_lie_on_their_side(tmp_path: Path) -> None:
    """GPT-2 also looks positions up once for all rows."""
    every = {
        "a": {"rank": 2, "targets": ("c_attn", "wpe", "wte")},
        "b": {"rank": 5, "targets": ("c_fc", "wpe"), "variant": "dora"},
    }
    _check_rows("gpt2", _write_all(tmp_path, "gpt2", every))


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_tables_heads_and_modules_trained_in_full_mix_with_the_rest(
    family: str, tmp_path: Path
) -> None:
    folders = _write_all(tmp_path, family, SETTINGS | TABLES)
    token = _write(tmp_path / "token", family, 9, (3, 17, 44), rank=2)
    _check_rows(family, folders | {"token": token})


class _Eye(torch.nn.Module):
    """An image model of one convolution, which may carry adapters."""

    def __init__(self) -> None:
        super().__init__()
        self.look = torch.nn.Conv2d(3, 6, (3, 5), stride=(2, 1), padding=(1, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.look(images))


@torch.no_grad()
def test_rows_of_a_convolution_equal_each_alone() -> None:
    torch.manual_seed(0)
    model = _Eye().eval()
    images = torch.randn(4, 3, 9, 7)
    expected, adapters = [model(images[:1])], {}
    for seed, variant in enumerate(("plain", "dora", "rslora")):
        settings = AdapterSettings(rank=2 + seed, alpha=6.0, variant=variant, targets=("look",))
        adapter = inject(model, settings, seed=seed)
        for parameter in adapter.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        expected.append(model.eval()(images[seed + 1 : seed + 2]))
        adapter.detach()
        adapters[variant] = adapter
    stack = AdapterStack(model)
    for variant, adapter in adapters.items():
        stack.add(variant, adapter)
    with stack.rows([RowChoice(), *map(RowChoice, adapters)]):
        torch.testing.assert_close(model(images), torch.cat(expected), rtol=0, atol=1e-5)
    assert not torch.allclose(expected[1], model(images[1:2]), atol=0.01)


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_rows_equal_what_peft_computes_for_a_mixed_batch(tmp_path: Path) -> None:
    plain = {name: SETTINGS[name] for name in ("small", "large")}
    folders = _write_all(tmp_path, "llama", plain)
    model = build_model("llama").eval()
    stack = AdapterStack(model)
    for name, folder in folders.items():
        stack.load(name, folder)
    names = ["small", "large", None, "small"]
    ids = build_batch(rows=4)
    found = _together(model, stack, [RowChoice(name) for name in names], ids)
    referee = peft.PeftModel.from_pretrained(
        build_model("llama"), str(folders["small"]), adapter_name="small"
    )
    referee.load_adapter(str(folders["large"]), adapter_name="large")
    referee.eval()
    with torch.no_grad():
        expected = referee(
            input_ids=ids, adapter_names=[name or "__base__" for name in names]
        ).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["small", "lengths"])
def test_strength_is_a_factor_of_the_update_of_the_weights(name: str, tmp_path: Path) -> None:
    folder = _write(tmp_path / name, "llama", 0, **SETTINGS[name])
    ids = build_batch(rows=3)
    model = build_model("llama").eval()
    stack = AdapterStack(model)
    stack.load(name, folder)
    strengths = (0.0, 0.4, 1.5)
    found = _together(model, stack, [RowChoice(name, strength) for strength in strengths], ids)
    for row, strength in enumerate(strengths):
        merged = build_model("llama").eval()
        adapter = load_adapter(merged, folder)
        adapter.detach()
        with torch.no_grad():
            for module in adapter.modules.values():
                module.base.weight.add_(module.get_delta() * strength)
            expected = merged(input_ids=ids[row : row + 1]).logits[0]
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-5)
        alone = _together(model, stack, [RowChoice(name, strength)] * 3, ids)
        torch.testing.assert_close(alone[row], expected, rtol=0, atol=1e-5)


def test_adapters_come_and_go_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    folders = _write_all(tmp_path, "llama", SETTINGS)
    model = build_model("llama").eval()
    stack = AdapterStack(model)
    ids = build_batch(rows=1)
    bare = [type(module) for module in model.modules()]
    stack.load("small", folders["small"])
    with torch.no_grad(), stack.rows([RowChoice("small")]):
        expected = model(input_ids=ids).logits
        stack.load("lengths", folders["lengths"])
        stack.load("large", folders["large"])
        torch.testing.assert_close(model(input_ids=ids).logits, expected)
        stack.remove("lengths")
        torch.testing.assert_close(model(input_ids=ids).logits, expected)
        with pytest.raises(LookupError, match="in use"):
            stack.remove("small")
    stack.remove("small")
    torch.testing.assert_close(
        _together(model, stack, [RowChoice("large")], ids),
        _alone("llama", folders["large"], ids),
        rtol=0,
        atol=1e-5,
    )
    assert stack.names == ("large",)
    stack.remove("large")
    assert [type(module) for module in model.modules()] == bare


def test_without_chosen_rows_the_model_computes_as_its_base(tmp_path: Path) -> None:
    model = build_model("llama").eval()
    ids = build_batch()
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        stack = AdapterStack(model)
        stack.load("small", _write(tmp_path / "a", "llama", 0, **SETTINGS["small"]))
        assert torch.equal(model(input_ids=ids).logits, expected)
        empty = [RowChoice(None)] * 3
        assert torch.equal(_together(model, stack, empty, ids), expected)
    stack.close()
    assert not any(isinstance(module, StackedModule) for module in model.modules())


def test_a_refused_adapter_leaves_the_others_working(tmp_path: Path) -> None:
    model = build_model("llama").eval()
    stack = AdapterStack(model)
    good = _write(tmp_path / "good", "llama", 0, **SETTINGS["small"])
    stack.load("good", good)
    foreign = _write(tmp_path / "foreign", "gpt2", 0, rank=2)
    with pytest.raises(AdapterUnusable, match="there is no layer"):
        stack.load("foreign", foreign)
    with pytest.raises(StudioError, match="already"):
        stack.load("good", good)
    with pytest.raises(LookupError, match="no adapter"), stack.rows([RowChoice("foreign")]):
        pass
    ids = build_batch(rows=2)
    found = _together(model, stack, [RowChoice("good"), RowChoice()], ids)
    torch.testing.assert_close(found[:1], _alone("llama", good, ids[:1]), rtol=0, atol=1e-5)


def test_a_layer_that_cannot_tell_rows_apart_says_so_instead_of_mixing_them_up(
    tmp_path: Path,
) -> None:
    model = build_model("llama").eval()
    stack = AdapterStack(model)
    stack.load("a", _write(tmp_path / "a", "llama", 0, **SETTINGS["small"]))
    layer = model.get_submodule("model.layers.0.self_attn.q_proj")
    with torch.no_grad(), stack.rows([RowChoice("a"), RowChoice()]), pytest.raises(RowsLost):
        layer(torch.zeros(2, 32))
    with torch.no_grad(), stack.rows([RowChoice("a")] * 2):
        assert layer(torch.zeros(2, 32)).shape == (2, 32)
