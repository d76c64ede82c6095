"""Realistic facts of a run for tests of pages and plots: a chat adapter on a small model."""

from __future__ import annotations

import math
import random
from pathlib import Path

from studio.core.events import types
from studio.core.events.types import Event
from studio.core.events.writer import EventWriter
from studio.core.jobs.orders import TrainOrder
from studio.core.paths import Home
from studio.core.recipe.load import parse_recipe
from studio.core.recipe.schema import Recipe
from studio.core.runs.store import RunStore

START_SECONDS = 1_790_000_000.0
TOTAL_STEPS = 600


def tell_start(total: int = TOTAL_STEPS) -> list[Event]:
    """Returns the facts before the first step."""
    facts: list[Event] = [
        types.JobStarted(kind="train", process_id=4242, attempt=1, versions={"torch": "2.13.0"}),
        types.PhaseEntered(phase="loading_data"),
        types.SettingResolved(
            key="data.max_tokens", value="412", why="99 % of the rows are shorter"
        ),
        types.DataPrepared(
            train_rows=4750,
            validation_rows=250,
            train_tokens=812_340,
            supervised_tokens=391_220,
            max_tokens=412,
            truncated_rows=12,
        ),
        types.PhaseEntered(phase="loading_model", detail="Qwen3-0.6B"),
        types.ModelLoaded(
            architecture="Qwen3ForCausalLM",
            parameters=596_049_920,
            trainable_parameters=10_092_544,
            adapted_modules=196,
            device="cuda:0",
            dtype="bfloat16",
        ),
        types.NoticeRaised(
            code="rows_cut",
            severity="warning",
            message="12 rows are longer than 412 tokens and were cut at their start.",
            remedy="Raise the longest example to keep them whole.",
        ),
        types.PlanMade(total_steps=total, steps_per_epoch=total // 2),
        types.PhaseEntered(phase="training"),
    ]
    return facts


def tell_steps(last: int, total: int = TOTAL_STEPS, seed: int = 1) -> list[Event]:
    """Returns the facts of the steps 1 to ``last``, with validations and checkpoints."""
    chance = random.Random(seed)
    facts: list[Event] = []
    best = math.inf
    for step in range(1, last + 1):
        clean = 0.85 + 2.4 * math.exp(-step / (total / 7))
        loss = clean + abs(chance.gauss(0, 0.16))
        facts.append(
            types.StepFinished(
                step=step,
                epoch=2 * step / total,
                loss=loss,
                learning_rate=2e-4 * 0.5 * (1 + math.cos(math.pi * step / total)),
                gradient_norm=0.5 + abs(chance.gauss(0, 0.2)),
                supervised_tokens=1300,
                tokens=2700,
                seconds=0.42 + chance.random() * 0.05,
            )
        )
        if step % 10 == 0:
            facts.append(
                types.MemoryMeasured(
                    step=step,
                    device="cuda:0",
                    used_bytes=5_100_000_000 + step * 100_000,
                    peak_bytes=5_650_000_000,
                    total_bytes=12_878_610_432,
                )
            )
        if step % (total // 10) == 0:
            validation = clean + 0.12 + (step / total) ** 4 * 0.1
            facts.append(
                types.ValidationFinished(
                    step=step,
                    loss=validation,
                    supervised_tokens=21_000,
                    is_best=validation < best,
                    seconds=2.0,
                )
            )
            best = min(best, validation)
            facts.append(
                types.CheckpointSaved(
                    step=step, folder=f"checkpoints/step-{step:07d}", bytes=121_110_528
                )
            )
            for source, answer in (
                ("base", "The capital of France is Paris."),
                ("adapter", "Arr, the capital o' France be Paris, ye scurvy landlubber! <b>☠</b>"),
            ):
                facts.append(
                    types.SampleAnswered(
                        step=step,
                        prompt="What is the capital of France?",
                        source=source,  # type: ignore[arg-type]  # the literal is one of the two
                        answer=answer,
                    )
                )
    return facts


def stamp(facts: list[Event], seconds: float = START_SECONDS) -> list[Event]:
    """Returns the facts with rising times."""
    return [
        fact.model_copy(update={"time_seconds": seconds + index * 0.4})
        for index, fact in enumerate(facts)
    ]


def build_recipe(name: str, folder: Path, **settings: object) -> Recipe:
    """Returns a recipe whose data file exists and has 320 rows, and an empty model folder."""
    data = folder / "support.jsonl"
    (folder / "Qwen3-0.6B").mkdir(parents=True, exist_ok=True)
    data.write_text('{"prompt": "a", "answer": "b"}\n' * 320, encoding="utf-8")
    return parse_recipe(
        {
            "name": name,
            "base": {"model": str(folder / "Qwen3-0.6B")},
            "data": {"train": [{"source": str(data)}]},
            **settings,
        }
    )


def write_run(home: Home, name: str, facts: list[Event], seconds: float = START_SECONDS) -> str:
    """Writes a run with these facts into the history and returns its folder."""
    store = RunStore(home, clock=lambda: seconds)
    order = TrainOrder(base_folder=str(home.folder))
    layout = store.create(build_recipe(name, home.folder / "material"), order)
    moments = iter(stamp(facts, seconds))
    moment = [seconds]
    with EventWriter(layout.events, clock=lambda: moment[0]) as writer:
        for fact in moments:
            moment[0] = fact.time_seconds
            writer.write(fact)
    return str(layout.folder)


def tell_finished(total: int = 40) -> list[Event]:
    """Returns the facts of a whole short run."""
    return [
        *tell_start(total),
        *tell_steps(total, total),
        types.AdapterSaved(step=total, folder="adapter"),
        types.RunFinished(step=total),
    ]
