"""A worker without an engine: plays one scene into a run directory, for tests of the bridge."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from studio.core.events import types
from studio.core.events.writer import EventWriter
from studio.core.jobs.control import ControlTail
from studio.core.jobs.orders import (
    EvaluateOrder,
    ForgettingOrder,
    ImportOrder,
    InsideOrder,
    LookAt,
    Pause,
    Resume,
    SaveCheckpoint,
    Stop,
)
from studio.core.paths import Home
from studio.core.runs.layout import RunLayout
from studio.core.runs.store import draft_run, load_order
from tests.gui.fake_chat import play_broken_chat, play_chat
from tests.gui.fake_export import play_broken_export, play_export

BURST_STEPS = 20_000


def step(number: int, loss: float = 1.0) -> types.StepFinished:
    return types.StepFinished(
        step=number,
        epoch=number / 100,
        loss=loss,
        learning_rate=1e-4,
        gradient_norm=0.5,
        supervised_tokens=10,
        tokens=20,
        seconds=0.01,
    )


def start(writer: EventWriter, kind: str = "train", total: int = 100) -> None:
    writer.write(types.JobStarted(kind=kind, process_id=os.getpid(), attempt=1))
    writer.write(types.PhaseEntered(phase="training"))
    writer.write(types.PlanMade(total_steps=total, steps_per_epoch=100))


def play_short(layout: RunLayout, writer: EventWriter) -> None:
    start(writer, total=3)
    for number in range(1, 4):
        writer.write(step(number))
    writer.write(types.AdapterSaved(step=3, folder=str(layout.adapter)))
    writer.write(types.RunFinished(step=3))


def play_burst(layout: RunLayout, writer: EventWriter) -> None:
    start(writer, total=BURST_STEPS)
    for number in range(1, BURST_STEPS + 1):
        writer.write(step(number))
    writer.write(types.RunFinished(step=BURST_STEPS))


def play_silent_death(layout: RunLayout, writer: EventWriter) -> None:
    start(writer)
    writer.write(step(1))
    writer.write(types.CheckpointSaved(step=1, folder=str(layout.checkpoint(1))))
    writer.write(step(2))
    with layout.events.open("ab") as stream:
        stream.write(b'{"event":"StepFinished","step":3,"epo')
    os.abort()


def play_crash_at_start(layout: RunLayout, writer: EventWriter) -> None:
    raise SystemExit(3)


def play_obedient(layout: RunLayout, writer: EventWriter) -> None:
    start(writer)
    number = 0
    is_paused = False
    control = ControlTail.of_attempt(layout)
    while True:
        for request in control.read():
            if isinstance(request, Pause):
                is_paused = True
                writer.write(types.RunPaused(step=number))
            elif isinstance(request, Resume):
                is_paused = False
                writer.write(types.RunResumed(step=number))
            elif isinstance(request, SaveCheckpoint):
                writer.write(
                    types.CheckpointSaved(step=number, folder=str(layout.checkpoint(number)))
                )
            elif isinstance(request, Stop):
                writer.write(types.RunStopped(step=number))
                return
        if not is_paused:
            number += 1
            writer.write(step(number))
        time.sleep(0.005)


def play_measure(layout: RunLayout, writer: EventWriter) -> None:
    writer.write(types.JobStarted(kind="measure", process_id=os.getpid(), attempt=1))
    writer.write(
        types.RowsCounted(lengths=(90, 40), rows=2, mean_tokens=65.0, supervised_fraction=0.5)
    )
    writer.write(
        types.DryRunMeasured(
            device="cpu",
            loaded_bytes=400 << 20,
            peak_bytes=600 << 20,
            documents=(90, 40),
            supervised_tokens=60,
            tokens=130,
            seconds=0.5,
            dtype="float32",
            recomputing=(28, 0, 0),
            micro_batch_tokens=4096,
        )
    )
    writer.write(types.RunFinished(step=2))


def play_full_memory(layout: RunLayout, writer: EventWriter) -> None:
    writer.write(types.JobStarted(kind="measure", process_id=os.getpid(), attempt=1))
    writer.write(types.RunFailed(code="out_of_memory", message="Memory is full.", remedy="Less."))


def play_import(layout: RunLayout, writer: EventWriter) -> None:
    """Adds a run to the history, except from a path with the word "evil"."""
    order = load_order(layout)
    assert isinstance(order, ImportOrder)
    writer.write(types.JobStarted(kind="import_run", process_id=os.getpid(), attempt=1))
    if "evil" in order.source:
        writer.write(types.RunFailed(code="capsule_unusable", message="No.", remedy="Ask again."))
        return
    filled = order.model_copy(update={"base": "org/some-base"})
    runs = Home(Path(order.home)).runs
    with draft_run(runs, Path(order.source).name, filled, time.time()) as draft:
        (draft.layout.adapter).mkdir()
        with EventWriter(draft.layout.events) as journal:
            journal.write(types.RunImported(source=order.source))
        kept = draft.keep()
    writer.write(
        types.NoticeRaised(severity="note", code="inputs_missing", message="No data.", remedy="-")
    )
    writer.write(
        types.ImportFinished(
            folder=str(kept.folder), name=Path(order.source).name, base="org/some-base", modules=4
        )
    )


def play_evaluate(layout: RunLayout, writer: EventWriter) -> None:
    order = load_order(layout)
    assert isinstance(order, EvaluateOrder)
    columns = ("base", *order.adapters)
    writer.write(types.JobStarted(kind="evaluate", process_id=os.getpid(), attempt=1))
    writer.write(types.EvaluationProgressed(part="answers", done_rows=1, total_rows=1))
    scores = {column: {"loss": 2.0 - place} for place, column in enumerate(columns)}
    answers = dict.fromkeys(columns, "Arr <b>x</b>")
    writer.write(
        types.RowEvaluated(row=1, prompt="Who?", expected="x", answers=answers, scores=scores)
    )
    values = [
        types.ColumnScore(
            column=column,
            metric="loss",
            label="Loss",
            is_higher_better=False,
            rows=1,
            value=2.0 - place,
            low=1.9 - place,
            high=2.1 - place,
            difference=-place or None,
            is_significant=bool(place),
            p_value=0.001,
        )
        for place, column in enumerate(columns)
    ]
    writer.write(types.EvaluationFinished(columns=columns, rows=1, scores=tuple(values)))
    writer.write(types.RunFinished(step=0))


def play_look(layout: RunLayout, writer: EventWriter) -> None:
    """Looks at one file whose columns nobody can guess."""
    writer.write(types.JobStarted(kind="survey", process_id=os.getpid(), attempt=1))
    control = ControlTail.of_attempt(layout)
    while True:
        for request in control.read():
            if isinstance(request, Stop):
                writer.write(types.RunStopped(step=0))
                return
            if isinstance(request, LookAt):
                names = ("frage", "<i>antwort</i>", "quelle")
                columns = tuple(types.FoundColumn(name=name, kind="text") for name in names)
                writer.write(
                    types.SourceExamined(
                        request=request.request,
                        position=0,
                        source="x",
                        certainty="unsure",
                        found_columns=columns,
                        message="No format fits.",
                    )
                )
        time.sleep(0.005)


def play_forgetting(layout: RunLayout, writer: EventWriter) -> None:
    """The base answers every prompt rightly; the adapters fail at those of the user."""
    order = load_order(layout)
    assert isinstance(order, ForgettingOrder)
    columns = ("base", *order.adapters)
    writer.write(types.JobStarted(kind="forgetting", process_id=os.getpid(), attempt=1))
    for number, probe in enumerate(order.probes, 1):
        writer.write(
            types.ProbeAnswered(
                area=probe.area,
                prompt=probe.prompt,
                expected=probe.expected,
                answers=dict.fromkeys(columns, "x"),
                right={one: one == "base" or probe.area != "own" for one in columns},
                divergences=dict.fromkeys(columns, 0.1),
                done_probes=number,
                total_probes=len(order.probes),
            )
        )
    writer.write(types.RunFinished(step=0))


def play_blend(layout: RunLayout, writer: EventWriter) -> None:
    writer.write(types.JobStarted(kind="blend", process_id=os.getpid(), attempt=1))
    writer.write(types.BlendProgressed(done_modules=1, total_modules=2))
    writer.write(
        types.BlendFinished(
            folder="/runs/half/adapter", run="/runs/half", rank=4, modules=2, error_fraction=0.125
        )
    )
    writer.write(types.RunFinished(step=0))


def play_inside(layout: RunLayout, writer: EventWriter) -> None:
    order = load_order(layout)
    assert isinstance(order, InsideOrder)
    names = list(order.adapters)
    writer.write(types.JobStarted(kind="inside", process_id=os.getpid(), attempt=1))
    writer.write(types.InsideProgressed(done_modules=1, total_modules=2))
    for name in names:
        looks = [
            types.ModuleLook(
                name=f"model.layers.{layer}.{inner}",
                rank=8,
                norm=1.0 + layer,
                effective_rank=2.0 + layer,
                stable_rank=1.5,
                base_norm=20.0,
            )
            for layer in range(3)
            for inner in ("self_attn.q_proj", "mlp.up_proj")
        ]
        writer.write(types.AdapterMeasured(adapter=name, modules=tuple(looks)))
    for other in names[1:]:
        layers = (types.LayerSimilarity(layer=0, cosine=-0.5),)
        writer.write(
            types.SimilarityMeasured(adapter=names[0], other=other, cosine=0.25, layers=layers)
        )
    writer.write(types.RunFinished(step=0))


SCENES = {
    "look": play_look,
    "inside": play_inside,
    "blend": play_blend,
    "forgetting": play_forgetting,
    "import": play_import,
    "evaluate": play_evaluate,
    "chat": play_chat,
    "broken-chat": play_broken_chat,
    "export": play_export,
    "broken-export": play_broken_export,
    "full-memory": play_full_memory,
    "measure": play_measure,
    "short": play_short,
    "burst": play_burst,
    "silent-death": play_silent_death,
    "crash-at-start": play_crash_at_start,
    "obedient": play_obedient,
}


def main() -> None:
    layout = RunLayout(Path(sys.argv[1]))
    with EventWriter(layout.events) as writer:
        SCENES[sys.argv[2]](layout, writer)
