"""Nothing is computed, kept or waited for that the formulas do not ask for."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from studio.core.recipe.schema import AdapterSettings
from studio.engine.data.collate import MicroBatch, collate_packed
from studio.engine.data.example import Example
from studio.engine.data.loader import StepPlan
from studio.engine.lora.inject import inject
from studio.engine.models.attention import PACKED
from studio.engine.models.body import split_model
from studio.engine.models.recompute import recompute
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train.collaborators import LoopSettings
from studio.engine.train.progress import Progress
from studio.engine.train.step import finish_step
from studio.engine.train.stepper import Stepper
from studio.engine.train.wishes import Wishes
from tests.engine.lora.tiny_models import build_model
from tests.engine.train.flops import FlopMeter

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

WIDTH, INNER, LAYERS, QUERY, KEY, VOCABULARY, RANK = 128, 352, 4, 128, 64, 2048, 4
LENGTHS = (150, 40, 64, 96, 30)
LAYER_WEIGHTS = 2 * WIDTH * QUERY + 2 * WIDTH * KEY + 3 * WIDTH * INNER


def _build(
    mode: str = "none", family: str = "llama", **settings: Any
) -> tuple[CausalTask, list[torch.nn.Parameter]]:
    model = build_model(
        family,
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        max_position_embeddings=512,
    )
    parts = split_model(model)
    adapter = inject(model, AdapterSettings(rank=RANK, alpha=8.0, **settings), seed=0)
    model.set_attn_implementation(PACKED)
    recompute(model, mode)
    return CausalTask(parts), adapter.parameters()


def _build_batch() -> MicroBatch:
    numbers = np.random.default_rng(0)
    return collate_packed(
        [
            Example(
                numbers.integers(3, VOCABULARY, count).astype(np.int32),
                np.arange(count) >= 0.45 * count,
                0,
                0,
                "",
            )
            for count in LENGTHS
        ]
    )


def _count_floor(batch: MicroBatch, adapter_parameters: int) -> dict[str, float]:
    """Returns the operations of one forward and backward pass, by part, for the whole batch.

    Frozen matrices cost 4 per weight and token (the result, and the gradient of the input),
    adapters 6, the head 4 per supervised token, attention 7 per pair of tokens and width.
    """
    tokens = batch.tokens
    return {
        "frozen": 4.0 * LAYERS * LAYER_WEIGHTS * tokens,
        "adapter": 6.0 * adapter_parameters * tokens,
        "head": 4.0 * batch.supervised_tokens * VOCABULARY * WIDTH,
        "attention": 7.0 * QUERY * LAYERS * sum(count**2 for count in LENGTHS),
    }


def _measure_flops(task: CausalTask, batch: MicroBatch) -> int:
    with FlopMeter() as meter:
        task.add_gradients(batch, batch.supervised_tokens)
    return meter.flops


@pytest.mark.parametrize(
    ("mode", "again"),
    [
        ("none", 0.0),
        ("mlp", 2.0 * LAYERS * 3 * WIDTH * INNER),
        ("all", 2.0 * (LAYERS - 1) * LAYER_WEIGHTS),
    ],
)
def test_the_operations_of_a_step_are_those_of_the_floor(mode: str, again: float) -> None:
    task, parameters = _build(mode)
    batch = _build_batch()
    floor = sum(_count_floor(batch, sum(p.numel() for p in parameters)).values())
    found = _measure_flops(task, batch)
    assert found <= 1.05 * (floor + again * batch.tokens)
    if mode == "none":
        # The last layer computes its end on supervised rows only, which the floor does not ask.
        spared = (
            4.0 * (WIDTH * QUERY + 3 * WIDTH * INNER) * (batch.tokens - batch.supervised_tokens)
        )
        assert found <= 1.01 * (floor - spared)


def test_layers_below_the_lowest_adapted_one_only_compute_forward() -> None:
    task, parameters = _build()
    half, _ = _build(layers="2-3")
    recomputed, _ = _build("all", layers="2-3")
    batch = _build_batch()
    whole = _count_floor(batch, sum(parameter.numel() for parameter in parameters))
    saved = (whole["frozen"] * 2 / 4 + whole["attention"] * 5 / 7 + whole["adapter"]) / 2
    difference = _measure_flops(task, batch) - _measure_flops(half, batch)
    assert difference == pytest.approx(saved, rel=0.01)
    # Recomputing must not reach below either: one layer is computed again, the last one is not.
    extra = _measure_flops(recomputed, batch) - _measure_flops(half, batch)
    assert extra <= 1.1 * 2.0 * LAYER_WEIGHTS * batch.tokens + whole["attention"] * 2 / 7 / 4


def test_no_frozen_weight_gets_a_gradient() -> None:
    task, parameters = _build()
    batch = _build_batch()
    task.add_gradients(batch, batch.supervised_tokens)
    own = {id(parameter) for parameter in parameters}
    for parameter in task.model.parameters():
        assert (parameter.grad is not None) == (id(parameter) in own)
    assert not task.model.get_input_embeddings().weight.requires_grad


class _ReadCounter(TorchFunctionMode):
    """Answers ``tolist`` of a tensor without storage and counts it.

    Any other look at such a tensor's numbers (item, nonzero, a mask as index, a copy to the
    processor) makes torch raise an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.tolist and args[0].device.type == "meta":
            self.reads += 1
            return [1.0] * args[0].numel()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", ["none", "mlp", "all"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_a_step_waits_for_the_device_once(family: str, mode: str) -> None:
    task, parameters = _build(mode, family)
    assert task.spares_rows
    task.model.to("meta")
    parameters = [p for p in task.model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([{"params": parameters, "ratio": 1.0}], lr=0.1)
    with _ReadCounter() as counter:
        total = torch.zeros((), device="meta")
        for _ in range(2):
            batch = _build_batch()
            total += task.add_gradients(batch, 2 * batch.supervised_tokens)
        finish_step(parameters, optimizer, total, 7, 0.1, 1.0, step=1)
    assert counter.reads == 1


class _SameSteps:
    """A source whose steps are all alike."""

    steps_per_epoch = 100
    micro_batch_tokens = 1000

    def iter_steps(self, first_step: int) -> Iterator[StepPlan]:
        del first_step
        batch = _build_batch()
        while True:
            yield StepPlan(0, 0, (), (batch, batch), 2 * batch.supervised_tokens)


def test_a_guarded_step_waits_for_the_device_once_even_when_its_state_is_copied() -> None:
    task, _ = _build()
    task.model.to("meta")
    parameters = [p for p in task.model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([{"params": parameters, "ratio": 1.0}], lr=0.1, momentum=0.9)
    adapter: Any = SimpleNamespace(parameters=lambda: parameters, named_parameters=list)
    source: Any = _SameSteps()
    nobody: Any = SimpleNamespace(poll=list)
    settings = LoopSettings(total_steps=20, learning_rate=0.1)
    stepper = Stepper(task, adapter, optimizer, source, settings, Progress(), keeper=nobody)
    with _ReadCounter() as counter:
        for _ in range(9):
            list(stepper.run(Wishes(nobody)))
    assert counter.reads == 9
    assert stepper.progress.step == 9
