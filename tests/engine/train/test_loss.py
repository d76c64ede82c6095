"""The loss in tiles equals torch's own cross-entropy, and the whole logits never exist."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from studio.engine.lora.linear import AdaptedLinear
from studio.engine.train.loss import LogitRule, TokenNotes, sum_cross_entropy

ROWS, WIDTH, VOCABULARY = 23, 12, 37
RULES = {
    "plain": LogitRule(),
    "scaled": LogitRule(scale=0.25),
    "capped": LogitRule(softcap=3.0),
    "both": LogitRule(scale=2.0, softcap=5.0),
}


def _build_head(kind: str) -> nn.Module:
    torch.manual_seed(1)
    head = nn.Linear(WIDTH, VOCABULARY, bias=kind == "bias").double()
    head.requires_grad_(kind == "trained")
    if kind != "adapted":
        return head
    adapted = AdaptedLinear(head, rank=2, alpha=4.0, dtype=torch.float64)
    nn.init.normal_(adapted.lora_B)
    return adapted


def _get_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    hidden = torch.randn(ROWS, WIDTH, dtype=torch.float64, requires_grad=True)
    return hidden, torch.randint(VOCABULARY, (ROWS,))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("kind", ["frozen", "bias", "trained", "adapted"])
@pytest.mark.parametrize("tile_rows", [1, 5, 23, 100])
def test_loss_and_gradients_equal_torchs(kind: str, rule: LogitRule, tile_rows: int) -> None:
    head = _build_head(kind)
    results = []
    for is_ours in (True, False):
        hidden, targets = _get_inputs()
        head.zero_grad()
        if is_ours:
            loss = sum_cross_entropy(hidden, targets, head, rule, tile_rows)
        else:
            loss = F.cross_entropy(rule.apply(head(hidden)), targets, reduction="sum")
        (loss / 7).backward()
        gradients = [p.grad.clone() for p in head.parameters() if p.grad is not None]
        results.append((loss.detach(), hidden.grad, gradients))
    ours, theirs = results
    torch.testing.assert_close(ours[0].double(), theirs[0], rtol=1e-6, atol=1e-6)
    # The path for trained heads computes its logits in float32.
    exact = {"rtol": 1e-9, "atol": 1e-11} if kind in ("frozen", "bias") else {}
    torch.testing.assert_close(ours[1], theirs[1], **(exact or {"rtol": 1e-5, "atol": 1e-6}))
    for one, other in zip(ours[2], theirs[2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_passes_torchs_own_check(smoothing: float) -> None:
    head, (hidden, targets) = _build_head("frozen"), _get_inputs()
    assert torch.autograd.gradcheck(
        lambda rows: sum_cross_entropy(rows, targets, head, RULES["both"], 4, None, smoothing),
        (hidden,),
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("kind", ["frozen", "adapted"])
def test_smoothed_targets_equal_torchs_and_leave_the_notes_alone(
    kind: str, rule: LogitRule
) -> None:
    head, results = _build_head(kind), []
    for is_ours in (True, False):
        hidden, targets = _get_inputs()
        notes = TokenNotes.build(ROWS, hidden.device)
        if is_ours:
            loss = sum_cross_entropy(hidden, targets, head, rule, 5, notes, 0.2)
        else:
            logits = rule.apply(head(hidden))
            loss = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=0.2)
            notes.note(
                slice(None),
                F.cross_entropy(logits, targets, reduction="none").detach(),
                notes.values[:, 1],
            )
        loss.backward()
        results.append((loss.detach().double(), hidden.grad, notes.values[:, 0]))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_bfloat16_head_gives_the_loss_of_float32() -> None:
    torch.manual_seed(0)
    head = nn.Linear(64, 500, bias=False).requires_grad_(False)
    hidden, targets = torch.randn(40, 64), torch.randint(500, (40,))
    exact = F.cross_entropy(head(hidden), targets, reduction="sum")
    rounded = sum_cross_entropy(hidden.bfloat16(), targets, head.bfloat16(), LogitRule())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=2e-3, atol=0)


def test_no_targets_give_no_loss_and_no_gradient() -> None:
    hidden = torch.randn(0, WIDTH, dtype=torch.float64, requires_grad=True)
    loss = sum_cross_entropy(
        hidden, torch.zeros(0, dtype=torch.long), _build_head("frozen"), LogitRule()
    )
    loss.backward()
    assert loss.item() == 0


class _LargestTensor(TorchDispatchMode):
    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize("kind", ["frozen", "adapted"])
def test_the_logits_of_all_rows_never_exist(kind: str) -> None:
    head, (hidden, targets) = _build_head(kind), _get_inputs()
    with _LargestTensor() as largest:
        sum_cross_entropy(hidden, targets, head, RULES["both"], tile_rows=4).backward()
    assert largest.numbers <= WIDTH * VOCABULARY < ROWS * VOCABULARY
