"""Preview and chat do what their orders say and state the facts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from studio.core.errors import AdapterUnusable
from studio.core.events.types import (
    AnswerFinished,
    BlendMeasured,
    ChatReady,
    ColumnsChanged,
    DataProblemFound,
    Event,
    RequestFailed,
    RowPreviewed,
    RunFinished,
    RunStopped,
    TokensGenerated,
)
from studio.core.jobs.orders import (
    AddColumn,
    Ask,
    BlendPart,
    BlendSettings,
    CancelAsk,
    ChatOrder,
    EvaluateOrder,
    ExportOrder,
    ForgettingOrder,
    PreviewOrder,
    RemoveColumn,
    SetBlend,
    Stop,
    Turn,
)
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import chat, evaluate, export, forgetting, presence, preview
from studio.engine.models.files import load_tokenizer
from tests.engine.tiny_run import ScriptedControl, build_run, listen, of_type


def test_a_preview_shows_rows_token_by_token(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats)
    order = PreviewOrder(base_folder=str(tmp_path), rows=3)
    events = list(preview.run(order, layout, ScriptedControl(layout)))
    rows = of_type(events, RowPreviewed)
    assert [row.row for row in rows] == [1, 2, 3]
    tokenizer = load_tokenizer(tiny_base)
    for row in rows:
        text = "".join(row.texts)
        assert list(row.ids) == tokenizer(text)["input_ids"]
        taught = "".join(t for t, is_on in zip(row.texts, row.supervised, strict=True) if is_on)
        assert text.endswith("<assistant>" + taught)
        assert taught.startswith("It is ")
        assert taught.endswith(".<end>")
    assert isinstance(events[-1], RunFinished)


def test_a_preview_names_problems_instead_of_failing(tmp_path: Path, tiny_base: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text(
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}\n'
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    )
    layout = build_run(tmp_path / "run", tiny_base, chats)
    order = PreviewOrder(base_folder=str(tmp_path))
    events = list(preview.run(order, layout, ScriptedControl(layout)))
    (problem,) = of_type(events, DataProblemFound)
    assert problem.rows == 1
    assert problem.remedy


def _ask(request: int, **changes: object) -> Ask:
    turns = (Turn(role="user", content="1+1?"),)
    values = {"request": request, "turns": turns, "max_new_tokens": 8}
    return Ask.model_validate(values | changes)


def _chat(base: Path, adapters: dict[str, Path], control: ScriptedControl) -> Iterator[Event]:
    order = ChatOrder(
        base=str(base), adapters={name: str(folder) for name, folder in adapters.items()}
    )
    return listen(chat.run(order, control.layout, control), control)


def test_a_chat_answers_until_it_is_told_to_end(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(lambda events: bool(of_type(events, ChatReady)), _ask(1))
    control.at(lambda _: True, _ask(2, columns=("nobody",)))
    control.at(lambda _: True, _ask(3))
    control.at(lambda _: True, CancelAsk(request=3))
    control.at(lambda _: True, _ask(4, columns=("mine",)))
    control.at(
        lambda events: any(event.request == 4 for event in of_type(events, AnswerFinished)), Stop()
    )
    events = list(_chat(tiny_base, {"mine": adapter}, control))
    assert of_type(events, ChatReady)[0].columns == ("base", "mine")
    finished = [(event.request, event.column) for event in of_type(events, AnswerFinished)]
    assert finished == [(1, "base"), (1, "mine"), (4, "mine")]
    assert [event.request for event in of_type(events, RequestFailed)] == [2]
    assert events[-1] == RunStopped(step=0)


def test_a_chat_loads_and_unloads_adapters_while_it_runs(
    tmp_path: Path, material: Path, tiny_base: Path, adapter: Path
) -> None:
    foreign = material / "adapters/stories260K-e2e-lora-qv8"
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(
        lambda events: bool(of_type(events, ChatReady)),
        AddColumn(request=1, column="late", adapter=str(adapter)),
    )
    control.at(lambda _: True, AddColumn(request=2, column="x", adapter=str(foreign)))
    control.at(lambda _: True, _ask(3))
    control.at(lambda _: True, RemoveColumn(request=4, column="late"))
    control.at(lambda events: len(of_type(events, ColumnsChanged)) == 2, Stop())
    events = list(_chat(tiny_base, {}, control))
    changes = [(event.request, event.columns) for event in of_type(events, ColumnsChanged)]
    assert changes == [(1, ("base", "late")), (4, ("base",))]
    assert [event.code for event in of_type(events, RequestFailed)] == ["adapter_unusable"]
    assert {event.column for event in of_type(events, AnswerFinished)} == {"base", "late"}


def test_a_mix_answers_in_a_chat_before_it_is_saved(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    def mix(request: int, *weights: float) -> SetBlend:
        parts = tuple(BlendPart(adapter=str(adapter), weight=weight) for weight in weights)
        return SetBlend(request=request, column="mix", blend=BlendSettings(parts=parts))

    def has_answer(request: int) -> Callable[[list[Event]], bool]:
        return lambda events: any(
            event.request == request and event.column == "mix"
            for event in of_type(events, AnswerFinished)
        )

    layout = RunLayout(tmp_path)
    control = ScriptedControl(layout)
    control.at(lambda events: bool(of_type(events, ChatReady)), mix(1, 0.5, 0.5))
    control.at(lambda events: len(of_type(events, ColumnsChanged)) == 1, _ask(2))
    control.at(has_answer(2), mix(3, 0.0))
    control.at(lambda events: bool(of_type(events, RequestFailed)), mix(4, 1.0, -1.0))
    control.at(lambda events: len(of_type(events, ColumnsChanged)) == 2, _ask(5))
    control.at(has_answer(5), Stop())
    order = ChatOrder(base=str(tiny_base), adapters={"mine": str(adapter)})
    events = list(listen(chat.run(order, layout, control), control))
    answers = {(e.request, e.column): e.text for e in of_type(events, AnswerFinished)}
    assert answers[2, "mix"] == answers[2, "mine"] != answers[2, "base"]
    assert answers[5, "mix"] == answers[5, "base"]
    (failed,) = of_type(events, RequestFailed)
    assert (failed.request, failed.code) == (3, "recipe_invalid")
    assert not any((tmp_path / "blends").glob("*"))


def test_a_newer_mix_ends_the_one_that_is_being_made_and_the_loss_is_told(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    parts = (BlendPart(adapter=str(adapter)),)
    blends = [BlendSettings(parts=parts, method=one, rank=1) for one in ("ties", "dare", "svd")]
    control = ScriptedControl(RunLayout(tmp_path))
    for wish in (
        SetBlend(request=1, column="mix", blend=blends[0]),
        SetBlend(request=2, column="mix", blend=blends[1]),
        _ask(3).model_copy(update={"columns": ("mix",)}),
        SetBlend(request=4, column="mix", blend=blends[2]),
    ):
        control.at(lambda events: bool(of_type(events, ChatReady)), wish)
    control.at(lambda events: len(of_type(events, ColumnsChanged)) == 1, Stop())
    events = list(_chat(tiny_base, {}, control))
    assert {one.request: one.code for one in of_type(events, RequestFailed)} == {
        2: "superseded",
        3: "column_unknown",
    }
    (measured,) = of_type(events, BlendMeasured)
    assert measured.request == 4
    assert measured.rank == 1
    assert 0 < measured.errors[1] < 1
    assert all(lost < measured.errors[1] for rank, lost in measured.errors.items() if rank > 1)


def test_adapters_come_while_answers_are_written_and_change_none_of_them(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    plain = ScriptedControl(RunLayout(tmp_path))
    long = {"max_new_tokens": 60, "is_raw": True}
    plain.at(lambda events: bool(of_type(events, ChatReady)), _ask(1, **long))
    plain.at(lambda events: len(of_type(events, AnswerFinished)) == 2, Stop())
    expected = of_type(list(_chat(tiny_base, {"mine": adapter}, plain)), AnswerFinished)
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(lambda events: bool(of_type(events, ChatReady)), _ask(1, **long))
    control.at(
        lambda events: bool(of_type(events, TokensGenerated)),
        AddColumn(request=2, column="late", adapter=str(adapter)),
    )
    control.at(lambda _: True, RemoveColumn(request=3, column="mine"))
    control.at(lambda events: len(of_type(events, ColumnsChanged)) == 2, Stop())
    events = list(_chat(tiny_base, {"mine": adapter}, control))
    kinds = [type(event) for event in events]
    assert kinds.index(ColumnsChanged) < kinds.index(AnswerFinished)
    changes = [event.columns for event in of_type(events, ColumnsChanged)]
    assert changes == [("base", "mine", "late"), ("base", "late")]
    found = of_type(events, AnswerFinished)
    assert {one.column: one.text for one in found} == {one.column: one.text for one in expected}
    assert events.index(of_type(events, ColumnsChanged)[1]) > events.index(found[-1])


def test_an_adapter_of_other_weights_in_the_same_shapes_is_refused(
    tmp_path: Path, tiny_base: Path, adapter: Path
) -> None:
    other = _copy_with_other_weights(tiny_base, tmp_path / "other")
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(
        lambda events: bool(of_type(events, ChatReady)),
        AddColumn(request=1, column="mine", adapter=str(adapter)),
    )
    control.at(lambda events: bool(of_type(events, RequestFailed)), Stop())
    (refused,) = of_type(list(_chat(other, {}, control)), RequestFailed)
    assert refused.code == "base_differs"
    assert "model.safetensors" in refused.message


@pytest.mark.parametrize("is_moved", [False, True])
def test_no_job_starts_with_an_adapter_of_other_weights(
    tmp_path: Path, tiny_base: Path, adapter: Path, is_moved: bool
) -> None:
    other = _copy_with_other_weights(tiny_base, tmp_path / "other")
    if is_moved:  # away from its run: its own file still tells
        adapter = Path(shutil.copytree(adapter, tmp_path / "moved"))
    columns = {"base": str(other), "adapters": {"mine": str(adapter)}}
    orders = [
        (chat, ChatOrder.model_validate(columns)),
        (evaluate, EvaluateOrder.model_validate(columns | {"data": "none.jsonl"})),
        (forgetting, ForgettingOrder.model_validate(columns | {"probes": [{"prompt": "1+1?"}]})),
        (export, _build_export(adapter, other, tmp_path / "out")),
    ]
    layout = RunLayout(tmp_path)
    for job, order in orders:
        with pytest.raises(AdapterUnusable, match="trained on other weights") as refused:
            list(job.run(order, layout, ScriptedControl(layout)))
        assert refused.value.code == "base_differs"


def _build_export(adapter: Path, base: Path, out: Path) -> ExportOrder:
    return ExportOrder(adapter=str(adapter), base=str(base), target="merged", out=str(out))


def _copy_with_other_weights(base: Path, folder: Path) -> Path:
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: value + 0.5 for name, value in weights.items()}, folder / "model.safetensors")
    return folder


def test_a_chat_ends_by_itself_when_nobody_is_there_any_more(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "_ORPHAN_SECONDS", 0.0)
    monkeypatch.setattr(presence, "find_mark", lambda _: None)
    events = list(_chat(tiny_base, {}, ScriptedControl(RunLayout(tmp_path))))
    assert events[-1] == RunStopped(step=0)


def test_a_chat_with_a_foreign_adapter_says_so(
    tmp_path: Path, material: Path, tiny_base: Path
) -> None:
    foreign = material / "adapters/stories260K-e2e-lora-qv8"
    with pytest.raises(AdapterUnusable):
        list(_chat(tiny_base, {"x": foreign}, ScriptedControl(RunLayout(tmp_path))))
