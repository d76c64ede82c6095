"""Whole runs on a card that is none: nothing meets what lies elsewhere, and nobody waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.events.types import NoticeRaised, StepFinished
from studio.core.jobs.orders import TrainOrder
from studio.core.recipe.load import load_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.held import buffer
from studio.engine.jobs import train
from tests.engine.export.tiny_families import build_family
from tests.engine.pretend_card import PretendCard
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


FALLEN_BACK = ("packing_off", "attention_refused", "nothing_quantised")
"""What a part says that failed there and was replaced: such a mistake would not end the run."""


@pytest.fixture(autouse=True)
def _buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept for a device must not outlive it."""
    monkeypatch.setattr(buffer, "_buffers", {})


def _watch_steps(card: PretendCard, layout: RunLayout) -> list[float]:
    """Returns the losses of a run; the processor waits for the card once a step, to read them."""
    losses: list[float] = []
    seen = 0
    order = TrainOrder(base_folder=str(layout.folder))
    for event in train.run(order, layout, ScriptedControl(layout)):
        if isinstance(event, StepFinished):
            losses.append(event.loss)
            assert len(card.waits) - seen <= 1, card.waits[seen:]
        assert not isinstance(event, NoticeRaised) or event.code not in FALLEN_BACK, event
        seen = len(card.waits)
    assert card.faults == []
    return losses


NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {"keep_row_losses": True, "held": {"attention": "sdpa"}},
    "recomputed": {
        "family": "qwen3",
        "checkpointing": "all",
        "optimizer": "lion",
        "adapter": {"variant": "dora"},
    },
    "results moved": {
        "family": "gemma3",
        "checkpointing": "offload",
        "optimizer": "adamw8bit",
        "adapter": {"init": "pissa"},
        "lora_plus_ratio": 4.0,
    },
    "weights visit in 4 bits": {
        "held": {"quantisation": "nf4", "offload": "layers"},
        "adapter": {"init": "loftq"},
    },
    "in 8 bits": {
        "family": "gpt2",
        "held": {"quantisation": "int8"},
        "adapter": {"init": "eva"},
        "optimizer": "schedule_free",
    },
    "experts": {"family": "qwen3_moe", "checkpointing": "mlp"},
    "more than layers": {
        "adapter": {"extra_modules": ["lm_head"], "trained_tokens": ["<end>"]},
    },
    "all weights": {"adapter": {"rank": "full"}},
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_computes_there_what_it_computes_here(
    name: str, tmp_path: Path, tiny_chats: Path
) -> None:
    wish = {"steps": 3, "validation": 0.0, "micro_batch_tokens": 80} | RECIPES[name]
    wish["held"] = {"dtype": "float32"} | wish.get("held", {})
    base = tmp_path / "base"
    family = wish.pop("family", "llama")
    build_family(base, family, **(NO_DROPOUT if family == "gpt2" else {}))
    with PretendCard() as card:
        there = _watch_steps(card, build_run(tmp_path / "runs" / "there", base, tiny_chats, **wish))
    here = train_run(build_run(tmp_path / "runs" / "here", base, tiny_chats, **wish))
    expected = [event.loss for event in of_type(here, StepFinished)]
    assert there[0] == pytest.approx(expected[0], rel=1e-5)
    assert there == pytest.approx(expected, rel=5e-3), "signs and eight bits turn over easily"


def test_the_second_card_is_used_alone(tmp_path: Path, tiny_base: Path, tiny_chats: Path) -> None:
    with PretendCard(cards=2) as card:
        run = build_run(
            tmp_path / "runs" / "there",
            tiny_base,
            tiny_chats,
            devices="cuda:1",
            steps=2,
            evaluate_every_steps=1,
        )
        assert len(_watch_steps(card, run)) == 2
        assert card.most.keys() == {torch.device("cuda:1")}
        assert torch.cuda.current_device() == 1


def test_older_cards_compute_in_32_bits(tmp_path: Path, tiny_base: Path, tiny_chats: Path) -> None:
    with PretendCard(capability=(7, 5)) as card:
        run = build_run(tmp_path / "runs" / "there", tiny_base, tiny_chats, steps=1)
        _watch_steps(card, run)
    assert load_recipe(run.recipe).base.dtype == "float32"
