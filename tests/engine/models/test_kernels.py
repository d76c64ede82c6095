"""Special attention kernels: each does what the plain path does, or is not trusted."""

from __future__ import annotations

from functools import wraps
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's own documentation uses

from studio.core.events.types import NoticeRaised, RunFinished, SettingResolved
from studio.core.recipe.load import load_recipe
from studio.core.recipe.save import save_recipe
from studio.engine.models import kernel_probe, kernels
from studio.engine.models.attention import Documents, attend_packed, get_documents
from studio.engine.models.kernel_probe import choose_kernel
from studio.engine.models.kernels import flash, flex, varlen
from tests.engine.lora.tiny_models import build_model
from tests.engine.tiny_run import build_run, of_type, train_run

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")

LENGTHS = (130, 7, 64, 1, 40)
CPU, CARD = torch.device("cpu"), torch.device("cuda:0")


def _draw(heads: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, h, sum(LENGTHS), 16, generator=generator) for h in (heads, 2, 2)]


def _attend(kernel: Any, inputs: list[torch.Tensor], window: int | None) -> torch.Tensor:
    layer: Any = torch.nn.Module()
    documents = get_documents(layer)
    documents.show(LENGTHS)
    documents.kernel = kernel
    query, key, value = inputs
    return attend_packed(layer, query, key, value, None, scaling=0.3, sliding_window=window)[0]


def run_varlen(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int,
    *, scale: float | None = None, window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Does on the processor what torch documents of ``varlen_attn``."""
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert cu_seq_q.dtype == torch.int32
    assert max_q == max_k == int(cu_seq_q.diff().max())
    assert window_size[1] == 0
    parts = []
    for start, end in pairwise(cu_seq_q.tolist()):
        q, k, v = (one[start:end].transpose(0, 1)[None] for one in (query, key, value))
        at = torch.arange(end - start)
        distance = at[:, None] - at[None, :]
        mask = distance >= 0
        if window_size[0] >= 0:
            mask &= distance <= window_size[0]
        done = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale, enable_gqa=enable_gqa
        )
        parts.append(done[0].transpose(0, 1))
    return torch.cat(parts)


def run_old_varlen(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int,
    is_causal: bool = False, *, scale: float | None = None,
) -> torch.Tensor:  # fmt: skip
    """The same in the form of earlier versions: no window, no fewer heads for keys."""
    assert is_causal
    window = (-1, 0)
    return run_varlen(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window
    )


def run_flash(
    q: Any, k: Any, v: Any, cu_q: Any, cu_k: Any, max_q: int, max_k: int,
    *, softmax_scale: float, causal: bool, window_size: tuple[int, int],
) -> torch.Tensor:  # fmt: skip
    assert causal
    return run_varlen(
        q, k, v, cu_q, cu_k, max_q, max_k,
        scale=softmax_scale, window_size=window_size, enable_gqa=q.shape[1] != k.shape[1],
    )  # fmt: skip


@pytest.mark.parametrize("window", [None, 48])
@pytest.mark.parametrize("heads", [2, 4])
@pytest.mark.parametrize("name", ["varlen", "flash", "flex"])
def test_each_kernel_is_asked_for_what_the_plain_path_computes(
    name: str, heads: int, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varlen, "_load", lambda: run_varlen)
    imitation = SimpleNamespace(flash_attn_varlen_func=run_flash)
    monkeypatch.setattr(flash, "import_module", lambda _: imitation)
    inputs = _draw(heads)
    expected = _attend(None, inputs, window)
    found = _attend(kernels.load_kernel(name), inputs, window)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_earlier_versions_of_torch_are_served_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "_load", lambda: run_old_varlen)
    inputs = _draw(4)
    found = _attend(varlen, inputs, None)
    torch.testing.assert_close(found, _attend(None, inputs, None), rtol=1e-4, atol=1e-5)
    with pytest.raises(NotImplementedError, match="window"):
        _attend(varlen, inputs, 48)


def test_bounds_and_masks_are_made_once_for_all_layers() -> None:
    documents = Documents()
    documents.show((3, 4))
    bounds = documents.get_bounds(CPU)
    assert bounds.tolist() == [0, 3, 7]
    assert documents.get_bounds(CPU) is bounds
    documents.show((5,))
    assert documents.get_bounds(CPU).tolist() == [0, 5]


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_kernel_that_agrees_is_taken(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "_load", lambda: run_varlen)
    monkeypatch.setattr(varlen, "find_obstacle", lambda *_: None)
    changes = {"sliding_window": 8} if family == "mistral" else {}
    model = build_model(family, **changes)
    choice = choose_kernel(model, "auto")
    assert (choice.value, choice.refused) == ("flash", "")
    assert get_documents(model).kernel is varlen
    assert choose_kernel(model, "sdpa").value == "sdpa"
    assert get_documents(model).kernel is None


@wraps(run_varlen)
def _see_too_much(*args: Any, **settings: Any) -> torch.Tensor:
    return run_varlen(*args, **(settings | {"window_size": (7, 0)}))


@wraps(run_varlen)
def _forget_gradients(*args: Any, **settings: Any) -> torch.Tensor:
    return run_varlen(*args, **settings) + _Leak.apply(args[0])


class _Leak(torch.autograd.Function):
    """Nothing on the way forward, but a gradient on the way back."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor) -> torch.Tensor:
        del ctx
        return torch.zeros_like(query)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        del ctx
        return gradients[0] * 0.5


def _crash(*args: Any, **settings: Any) -> torch.Tensor:
    raise RuntimeError("no kernel image is available for execution on the device")


@pytest.mark.parametrize(
    ("run", "reason"),
    [(_see_too_much, "differ by"), (_forget_gradients, "differ by"), (_crash, "no kernel image")],
)
def test_a_kernel_that_is_wrong_or_fails_is_not_trusted(
    run: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varlen, "_load", lambda: run)
    monkeypatch.setattr(varlen, "find_obstacle", lambda *_: None)
    model = build_model("llama")
    choice = choose_kernel(model, "flash")
    assert choice.value == "sdpa"
    assert reason in choice.refused
    assert get_documents(model).kernel is None
    assert choose_kernel(model, "auto").refused == ""  # nobody asked for it


def test_what_cannot_work_on_a_device_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel in (varlen, flash, flex):
        assert kernel.find_obstacle(CPU, torch.bfloat16)
    assert "16-bit" in str(varlen.find_obstacle(CARD, torch.float32))
    assert "16-bit" in str(flash.find_obstacle(CARD, torch.float32))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert "too old" in str(varlen.find_obstacle(CARD, torch.float16))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    assert varlen.find_obstacle(CARD, torch.float16) is None
    assert kernel_probe.choose_kernel(build_model("llama"), "auto").value == "sdpa"


def test_a_run_whose_wish_cannot_be_met_says_so_and_goes_on(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, steps=1, validation=0.0)
    recipe = load_recipe(layout.recipe)
    base = recipe.base.model_copy(update={"attention": "flash"})
    save_recipe(recipe.model_copy(update={"base": base}), layout.recipe)
    events = train_run(layout)
    assert isinstance(events[-1], RunFinished)
    (notice,) = [e for e in of_type(events, NoticeRaised) if e.code == "attention_refused"]
    assert "graphics cards only" in notice.message
    assert not [e for e in of_type(events, SettingResolved) if e.key == "base.attention"]
