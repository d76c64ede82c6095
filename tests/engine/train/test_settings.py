"""Open settings become sane numbers; optimizer groups, memory and the lease do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from studio.core.errors import NotAvailableYet
from studio.core.events.types import JobQueued
from studio.core.jobs.orders import Stop
from studio.core.memory.recomputing import Recomputing
from studio.core.paths import Home
from studio.core.recipe.schema import AdapterSettings
from studio.core.recipe.schema_train import TrainSettings
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import find_mark, write_mark
from studio.engine.jobs.lease import wait_for_device
from studio.engine.jobs.requests import StopWished
from studio.engine.lora.inject import inject
from studio.engine.models.capabilities import get_rough_size
from studio.engine.train import resolve
from studio.engine.train.meter import MemoryMeter
from studio.engine.train.optimizers import build_optimizer, set_learning_rate
from studio.engine.train.progress import Progress
from tests.engine.lora.tiny_models import build_model
from tests.engine.tiny_run import ScriptedControl

AUTO = TrainSettings()


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"), [(7, 2.0, 7), (None, 2.0, 20), (None, 0.25, 3)]
)
def test_steps_follow_from_epochs_unless_they_are_given(
    steps: int | None, epochs: float, expected: int
) -> None:
    assert resolve.resolve_total_steps(TrainSettings(steps=steps, epochs=epochs), 10) == expected


def test_validation_happens_about_ten_times_a_run() -> None:
    assert resolve.resolve_evaluate_every(AUTO, 200, has_validation=True).value == 20
    assert resolve.resolve_evaluate_every(AUTO, 3, has_validation=True).value == 1
    assert resolve.resolve_evaluate_every(AUTO, 200, has_validation=False).value == 0
    own = TrainSettings(evaluate_every_steps=7)
    assert resolve.resolve_evaluate_every(own, 200, has_validation=True).value == 7


def test_memory_decides_on_recomputing_and_on_tokens_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build_model("llama")
    per_token = get_rough_size(model).count_bytes()
    nothing = Recomputing(none=model.config.num_hidden_layers)
    for free_tokens, expected, tokens in (
        (1 << 20, "none", 4096),
        (600, "none", 300),
        (110, "mlp in 1 of 2 layers", 64),
        (90, "all in 1 of 2 layers", 64),
        (10, "all", 64),
    ):
        monkeypatch.setattr(resolve, "get_free_bytes", lambda _, n=free_tokens: n * per_token)
        choice, why = resolve.resolve_checkpointing(AUTO, model, 64)
        assert str(choice) == expected
        assert why
        found = resolve.resolve_micro_batch_tokens(AUTO, model, 64, recomputing=nothing)
        assert found.value == tokens


def test_the_estimate_of_activations_is_the_closed_formula() -> None:
    # Llama-3.2-1B: one copy is 51,200 bytes per token and layer in 16 bits.
    model = build_model(
        "llama", hidden_size=2048, intermediate_size=8192, num_attention_heads=32,
        num_key_value_heads=8, num_hidden_layers=1, dtype=torch.bfloat16,
    )  # fmt: skip
    assert get_rough_size(model).count_bytes() == 2 * 51_200


def test_with_lora_plus_the_second_matrix_learns_faster() -> None:
    adapter = inject(build_model("llama"), AdapterSettings(rank=2, alpha=4.0), seed=0)
    optimizer = build_optimizer(adapter, TrainSettings(lora_plus_ratio=16.0, weight_decay=0.1))
    set_learning_rate(optimizer, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in adapter.named_parameters():
        assert rates[id(parameter)] == (8.0 if name.endswith("lora_B") else 0.5)
    assert len(rates) == len(adapter.parameters())
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.1}


def test_an_optimizer_that_is_not_there_yet_is_refused() -> None:
    adapter = inject(build_model("llama"), AdapterSettings(rank=2, alpha=4.0), seed=0)
    settings = TrainSettings.model_construct(optimizer="sgd", lora_plus_ratio=1.0)
    with pytest.raises(NotAvailableYet, match="adamw"):
        build_optimizer(adapter, settings)


def test_memory_on_the_processor_is_what_the_system_reports() -> None:
    meter = MemoryMeter(torch.device("cpu"), interval_seconds=1000.0)
    event = meter.measure_if_due(3)
    assert event is not None
    rss = psutil.Process().memory_info().rss
    assert event.used_bytes == pytest.approx(rss, rel=0.2)
    assert event.peak_bytes >= event.used_bytes
    assert event.total_bytes == psutil.virtual_memory().total
    assert meter.measure_if_due(4) is None


def test_a_validation_loss_that_is_no_number_is_never_the_best() -> None:
    progress = Progress(step=5).after_evaluation(float("nan"))
    assert progress.best_loss is None
    assert progress.stale_evaluations == 1
    assert progress.after_evaluation(2.0).best_step == 5


def test_the_card_is_waited_for_and_stop_ends_the_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    layout = RunLayout(tmp_path / "runs" / "mine")
    layout.folder.mkdir(parents=True)
    lease = Home(tmp_path).lease
    control = ScriptedControl(layout)
    card = torch.device("cuda:0")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        mark = find_mark(other.pid)
        assert mark is not None
        write_mark(lease, mark.model_copy(update={"run_id": "theirs"}))
        waiting = wait_for_device(layout, card, control)
        assert next(waiting) == JobQueued(behind="theirs")
        control.at(lambda _: True, Stop())
        with pytest.raises(StopWished):
            next(waiting)
        assert other.stdin is not None
        other.stdin.close()
    assert list(wait_for_device(layout, card, ScriptedControl(layout))) == []
    assert f'"process_id": {os.getpid()}' in lease.read_text()
    assert chosen == [card]


def test_the_processor_needs_no_lease(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "runs" / "mine")
    assert list(wait_for_device(layout, torch.device("cpu"), ScriptedControl(layout))) == []
    assert not Home(tmp_path).lease.exists()
