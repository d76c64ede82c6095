"""What must still work is asked of base and adapters; the divergence is that of torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from studio.core.events.measures import ProbeAnswered
from studio.core.events.types import NoticeRaised, RunFinished, RunStopped
from studio.core.forgetting.probes import Probe
from studio.core.jobs.orders import ForgettingOrder, Stop
from studio.core.runs.layout import RunLayout
from studio.engine.evaluate.divergence import measure_divergences
from studio.engine.jobs import forgetting
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.state import load_adapter
from studio.engine.models.body import split_model
from studio.engine.models.load import load_model
from tests.engine.tiny_run import ScriptedControl, build_run, listen, of_type, train_run

CPU = torch.device("cpu")
PROBES = (
    Probe(area="arithmetic", prompt="1+1?", contains=("It is",)),
    Probe(prompt="2+2?"),
    Probe(area="json", prompt="x" * 400, pattern="x"),
)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_chats: Path) -> Path:
    """The adapter of a short run."""
    layout = build_run(tmp_path_factory.mktemp("runs") / "run", tiny_base, tiny_chats, steps=15)
    train_run(layout)
    return layout.adapter


def test_the_divergence_is_that_of_two_separate_models(tiny_base: Path, adapter: Path) -> None:
    prompt, answer = list(range(3, 12)), [5, 80, 7, 256]
    parts = split_model(load_model(tiny_base, torch.float32, CPU))
    stack = AdapterStack(parts.model)
    stack.load("mine", adapter)
    choices = [RowChoice("mine"), RowChoice(), RowChoice("mine", 0.5)]
    found = measure_divergences(parts, stack, prompt, answer, choices)
    ids = torch.tensor([[*prompt, *answer]])
    places = slice(len(prompt) - 1, -1)
    base = load_model(tiny_base, torch.float32, CPU)
    other = load_model(tiny_base, torch.float32, CPU)
    load_adapter(other, adapter)
    with torch.no_grad():
        one, two = (m.eval()(ids).logits[0, places].log_softmax(-1) for m in (base, other))
    expected = functional.kl_div(two, one, log_target=True, reduction="sum") / len(answer)
    assert found[0] == pytest.approx(float(expected), rel=1e-4)
    assert found[1] == pytest.approx(0, abs=1e-6)
    assert 0 < found[2] < found[0]


def test_every_prompt_is_asked_of_all_and_those_too_long_are_told(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    order = ForgettingOrder(
        base=str(tiny_base), adapters={"mine": str(adapter)}, probes=PROBES, max_new_tokens=16
    )
    control = ScriptedControl(RunLayout(tmp_path))
    events = list(listen(forgetting.run(order, RunLayout(tmp_path), control), control))
    first, second = of_type(events, ProbeAnswered)
    assert (first.prompt, first.area, first.total_probes) == ("1+1?", "arithmetic", 2)
    assert first.right == {name: "it is" in text.lower() for name, text in first.answers.items()}
    assert second.right["base"]
    assert second.done_probes == 2
    assert second.divergences["base"] == 0
    assert second.divergences["mine"] > 0
    (notice,) = of_type(events, NoticeRaised)
    assert notice.message.startswith("1 prompt cannot be asked")
    assert isinstance(events[-1], RunFinished)
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(lambda events: len(events) > 1, Stop())
    events = list(listen(forgetting.run(order, RunLayout(tmp_path), control), control))
    assert events[-1] == RunStopped(step=0)
