"""Copies beside the work, by a stream that makes each as late as it may: nothing is read too soon,
given up too soon, or fetched far ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from studio.core.recipe.schema import AdapterSettings
from studio.engine.lora.inject import inject
from studio.engine.models import attention, offload_saved, offload_weights, streams
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.tasks.causal_lm import CausalTask
from tests.engine.lora.tiny_models import build_model
from tests.engine.models.test_recompute import _get_gradients

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

CPU = torch.device("cpu")
LAYERS = 6


def _count_holders(tensor: torch.Tensor) -> int:
    """Returns how many tensors share the memory of this one, itself included."""
    place = tensor.untyped_storage()._cdata
    found: int = torch._C._storage_Use_Count(place)
    return found


ALONE = _count_holders(torch.zeros(1))


@dataclass
class LateStream:
    """Copies only when somebody waits; until then a target holds numbers that are none."""

    waiting: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    done: int = 0
    given_up: int = 0
    most_waiting_bytes: int = 0

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        with torch.no_grad():
            target.fill_(float("nan") if target.is_floating_point() else 77)
        self.waiting.append((target.detach(), source.detach()))
        size = sum(one.nbytes for one, _ in self.waiting)
        self.most_waiting_bytes = max(self.most_waiting_bytes, size)

    def mark(self) -> streams.Mark:
        return self.done + len(self.waiting)

    def wait(self, mark: streams.Mark) -> None:
        assert isinstance(mark, int)
        while self.done < mark:
            target, source = self.waiting.pop(0)
            self.given_up += min(_count_holders(target), _count_holders(source)) <= ALONE
            with torch.no_grad():
                target.copy_(source)
            self.done += 1


def _build(family: str = "llama") -> tuple[Any, Any]:
    model = build_model(family, num_hidden_layers=LAYERS)
    adapter = inject(model, AdapterSettings(rank=4, alpha=8.0), seed=0)
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=numbers) * 0.05)
    return model, adapter


def _finish(model: Any) -> CausalTask:
    parts = split_model(model)
    model.set_attn_implementation(PACKED)
    model.train()
    return CausalTask(parts)


def _check(task: CausalTask, adapter: Any, expected: list[torch.Tensor]) -> None:
    for _ in range(2):
        found = _get_gradients(task, adapter.parameters())
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_results_on_their_way_are_awaited_and_held_until_they_left(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, adapter = _build(family)
    expected = _get_gradients(_finish(model), adapter.parameters())
    stream = LateStream()
    monkeypatch.setattr(offload_saved, "open_side_stream", lambda _: stream)
    model, adapter = _build(family)
    task = _finish(model)
    offload = offload_saved.offload_saved(model)
    _check(task, adapter, expected)
    assert stream.done > 0
    assert stream.given_up == 0
    per_layer = offload.moved_bytes / 2 / (LAYERS - 1)
    assert stream.most_waiting_bytes <= 2.1 * per_layer, "the card would hold all layers at once"


def test_results_of_a_step_that_broke_off_are_given_up_with_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, adapter = _build()
    expected = _get_gradients(_finish(model), adapter.parameters())
    stream = LateStream()
    monkeypatch.setattr(offload_saved, "open_side_stream", lambda _: stream)
    model, adapter = _build()
    task = _finish(model)
    offload_saved.offload_saved(model)
    handle = model.base_model.layers[4].register_forward_pre_hook(_fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        _get_gradients(task, adapter.parameters())
    handle.remove()
    _check(task, adapter, expected)


def _fail(module: Any, inputs: Any) -> None:
    del module, inputs
    raise RuntimeError("out of memory, as told")


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_visiting_weights_are_awaited_and_nothing_is_written_where_they_were(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, adapter = _build(family)
    expected = _get_gradients(_finish(model), adapter.parameters())
    stream = LateStream()
    monkeypatch.setattr(offload_weights, "open_side_stream", lambda _: stream)
    model, adapter = _build(family)
    offload = offload_weights.offload_weights(model, CPU)
    _check(_finish(model), adapter, expected)
    assert stream.done > 2 * LAYERS
    assert stream.given_up == 0
    assert offload.most_resident_bytes <= 2 * offload.largest_layer_bytes
    assert stream.most_waiting_bytes <= 2 * offload.largest_layer_bytes


class _CardTensor(torch.Tensor):
    """A tensor that believes it lies on a card."""

    is_cuda = True  # type: ignore[assignment]  # in place of torch's own


@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("has_kernel", [False, True])
def test_shared_heads_are_written_out_where_no_kernel_shares_them(
    has_kernel: bool, window: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def can_use(question: Any) -> bool:
        asked.append(question)
        return has_kernel and question.attn_mask is None

    monkeypatch.setattr(torch.backends.cuda, "can_use_flash_attention", can_use)
    monkeypatch.setattr(torch.backends.cuda, "can_use_efficient_attention", lambda _: False)
    draw = torch.Generator().manual_seed(0)
    plain = [torch.randn(1, heads, 9, 8, generator=draw) for heads in (4, 2, 2)]
    mask = torch.ones(9, 9).tril().bool() & ~torch.ones(9, 9).tril(-4).bool() if window else None
    expected = attention._attend(*plain, mask, 0.0, None)
    seen: list[tuple[int, bool]] = []
    real = torch.nn.functional.scaled_dot_product_attention

    def attend(q: Any, k: Any, v: Any, **settings: Any) -> torch.Tensor:
        seen.append((k.shape[1], settings["enable_gqa"]))
        return real(q, k, v, **settings)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", attend)
    card = [one.as_subclass(_CardTensor) for one in plain]
    found = attention._attend(*card, mask, 0.0, None).as_subclass(torch.Tensor)
    torch.testing.assert_close(found, expected)
    shares = has_kernel and not window
    assert seen == [(2, True) if shares else (4, False)]
    assert asked[0].enable_gqa
