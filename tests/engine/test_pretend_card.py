"""The card that is none refuses and notes what a real one would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.engine.pretend_card import CARD, CPU, PretendCard
from tests.engine.pretend_streams import Unordered


@pytest.fixture
def card() -> Iterator[PretendCard]:
    with PretendCard() as card:
        yield card


def test_what_is_made_or_computed_there_says_so(card: PretendCard) -> None:
    weight = torch.ones(4, device=CARD, requires_grad=True)
    moved = torch.arange(4.0).to("cuda")
    result = (weight * moved + 2.0).cumsum(0).sum()
    result.backward()
    assert weight.grad is not None
    found = (weight, moved, result, weight.grad, torch.zeros_like(weight), moved.new_ones(2))
    assert {one.device for one in found} == {CARD}
    assert weight.cpu().device == torch.arange(3).device == CPU
    assert torch.equal(weight.grad.cpu(), torch.tensor([4.0, 3.0, 2.0, 1.0]) * torch.arange(4.0))
    assert card.used[CARD] == sum(one.nbytes for one in found)


def test_tensors_of_two_places_do_not_meet() -> None:
    with PretendCard():
        there, here = torch.ones(3, device=CARD), torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            there + here
        with pytest.raises(RuntimeError, match="same device"):
            torch.cat((there, torch.tensor([1.0])))
        assert (there * torch.tensor(2.0)).device == CARD, "single numbers may come from here"
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        with pytest.raises(RuntimeError, match="generator"):
            there.normal_(generator=torch.Generator())
    with pytest.raises((AssertionError, RuntimeError)):
        torch.ones(3, device=CARD)


@pytest.mark.parametrize(
    ("waits", "work"),
    [
        (1, lambda there: there.sum().item()),
        (1, lambda there: there.nonzero()),
        (1, lambda there: there[there > 0]),
        (1, lambda there: torch.tensor([1, 2], device=there.device)),
        (1, lambda there: torch.tensor([1, 2]).to(there.device)),
        (0, lambda there: torch.tensor([1, 2]).to(there.device, non_blocking=True)),
        (0, lambda there: there.masked_fill(there > 0, 0.0)),
    ],
)
def test_waits_are_counted(card: PretendCard, waits: int, work) -> None:
    there = torch.ones(3, device=CARD)
    work(there)
    assert len(card.waits) == waits


def test_copies_beside_the_work_are_awaited(card: PretendCard) -> None:
    there = torch.ones(3, device=CARD)
    kept = torch.empty(3, pin_memory=True)
    kept.copy_(there, non_blocking=True)
    with pytest.raises(Unordered):
        kept.sum()
    torch.cuda.synchronize()
    assert float(kept.sum()) == 3.0

    side = torch.cuda.Stream(CARD)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        back = torch.empty_like(there)
        back.copy_(kept, non_blocking=True)
    with pytest.raises(Unordered):
        back * 2
    torch.cuda.current_stream().wait_event(side.record_event())
    assert (back * 2).device == CARD
    with torch.cuda.stream(side):
        there.mul_(2)
    del there
    assert len(card.faults) == 1, "the main stream may take its memory while the other computes"


def test_memory_runs_out_and_is_given_back() -> None:
    with PretendCard(total_bytes=1000) as card:
        first = torch.ones(200, device=CARD)
        with pytest.raises(torch.OutOfMemoryError):
            first * 2
        del first
        assert torch.ones(200, device=CARD).sum() == 200
        assert card.most[CARD] >= 800


def test_cards_draw_numbers_of_their_own() -> None:
    with PretendCard(cards=2):
        torch.manual_seed(1)
        state = torch.cuda.get_rng_state_all()
        first = torch.rand(3, device=CARD)
        assert not torch.equal(first.cpu(), torch.rand(3, device=CARD).cpu())
        for index, one in enumerate(state):
            torch.cuda.set_rng_state(one, index)
        here = torch.random.get_rng_state()
        assert torch.equal(first.cpu(), torch.rand(3, device="cuda:0").cpu())
        assert torch.equal(here, torch.random.get_rng_state())
