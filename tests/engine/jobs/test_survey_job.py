"""The survey shows what training would see of any row, and what is wrong where."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.core.events.types import (
    CopyProgressed,
    CopySaved,
    DataProblemFound,
    DataSurveyed,
    Event,
    LimitsMeasured,
    RequestFailed,
    RowOpened,
    RowShown,
    RowTried,
    RunStopped,
    SourceExamined,
    TemplateTried,
)
from studio.core.jobs.orders import (
    AnyRequest,
    CancelCopy,
    LookAt,
    OpenRow,
    SaveCopy,
    ShowRow,
    Stop,
    SurveyOrder,
    TryRow,
    TryTemplate,
)
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.prepare import prepare
from studio.engine.jobs import survey
from studio.engine.models.files import load_tokenizer
from tests.engine.tiny_run import ScriptedControl, build_run, of_type

Survey = Callable[..., list[Event]]


def chat(*contents: str, **others: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return {"messages": turns, **others}


def write(path: Path, rows: Sequence[object]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def look(tmp_path: Path, tiny_base: Path) -> Survey:
    """Surveys data and then asks for things, one after the other."""

    def run(
        data: dict[str, Any], *wishes: AnyRequest, meanwhile: Sequence[AnyRequest] = ()
    ) -> list[Event]:
        layout = build_run(tmp_path / "jobs" / "look", tiny_base, tmp_path / "unused.jsonl")
        order = SurveyOrder(base=str(tiny_base), base_folder=str(tmp_path))
        control = ScriptedControl(layout)
        control.at(lambda _: True, LookAt(request=1, data=data))
        answers = 0

        def is_done(seen: list[Event]) -> bool:
            surveyed = [one for one in seen if isinstance(one, DataSurveyed)]
            told = [one for one in seen if isinstance(one, LimitsMeasured)]
            is_over = any(not one.is_sample for one in surveyed) and len(told) == len(surveyed)
            return is_over or any(isinstance(one, RequestFailed) for one in seen)

        for number, wish in enumerate(wishes):
            control.at(lambda seen, n=number: is_done(seen) and _answers(seen) >= n, wish)
        for wish in meanwhile:
            control.at(lambda seen: any(isinstance(one, CopyProgressed) for one in seen), wish)
        answers = 1 if meanwhile else len(wishes)
        control.at(lambda seen: is_done(seen) and _answers(seen) >= answers, Stop())
        events = _follow(survey.run(order, layout, control), control)
        assert isinstance(events[-1], RunStopped)
        return events

    return run


def _answers(seen: list[Event]) -> int:
    answers = (RowShown, TemplateTried, RowOpened, RowTried, CopySaved)
    failed = [one for one in seen if isinstance(one, RequestFailed) and one.request > 1]
    return sum(isinstance(one, answers) for one in seen) + len(failed)


def _follow(events: Iterator[Event], control: ScriptedControl) -> list[Event]:
    for event in events:
        control.seen.append(event)
    return control.seen


def data_of(path: Path, **others: Any) -> dict[str, Any]:
    return {"train": [{"source": str(path)}], "validation": {"fraction": 0}, **others}


def test_open_places_are_named_and_filled_rows_are_shown(look: Survey, tmp_path: Path) -> None:
    rows = [chat("Who are you?", f"I am {{{{name}}}}, number {i}.") for i in range(5)]
    path = write(tmp_path / "rows.jsonl", [*rows, chat("Hi", "{{greeting}}")])
    data = {
        "train": [{"source": str(path), "fill": {"name": "Ada"}}],
        "validation": {"fraction": 0},
    }
    changed = json.dumps({"messages": [*chat("Are you {{name}}?", "Yes")["messages"]]})
    tried = TryRow(request=6, files="train", source=0, index=1, values=changed)
    events = look(data, ShowRow(request=5, rank=1, finding="places_filled"), tried)
    (shown,) = of_type(events, RowShown)
    assert "I am Ada, number 1." in "".join(shown.texts)
    assert "{{name}}" in shown.written
    (tried_row,) = of_type(events, RowTried)
    assert tried_row.row is not None
    assert "Are you Ada?" in "".join(tried_row.row.texts)
    problems = {one.code: one.rows for one in of_type(events, DataProblemFound)}
    assert (problems["places_filled"], problems["unfilled_places"]) == (5, 1)
    (found, *_) = of_type(events, DataSurveyed)
    assert [(one.name, one.rows, one.quote) for one in found.places] == [
        ("name", 5, ""),
        ("greeting", 1, "{{greeting}}"),
    ]


def test_any_row_is_shown_as_it_is_trained(look: Survey, tmp_path: Path, tiny_base: Path) -> None:
    rows = [chat(f"q{i} " * (i + 1), "né 😀" * (1 + i % 3), "w", "a") for i in range(130)]
    path = write(tmp_path / "rows.jsonl", rows)
    data = data_of(path, max_tokens=200)
    wishes = [ShowRow(request=5, rank=rank) for rank in (0, 77, 129)]
    events = look(data, *wishes, ShowRow(request=6, row=50))
    settings = DataSettings.model_validate(data)
    tokenizer = load_tokenizer(tiny_base)
    prepared = prepare(settings, tokenizer, 256, base_folder=tmp_path)
    trained = {one.row: one for one in prepared.train}
    shown = of_type(events, RowShown)
    assert [one.row for one in shown] == [1, 78, 130, 50]
    for one in shown:
        example = trained[one.row]
        kept = [number for number, fate in zip(one.ids, one.fates, strict=True) if fate != "x"]
        assert kept == example.ids.tolist()
        learnt = [fate == "l" for fate in one.fates if fate != "x"]
        assert learnt == example.supervised.tolist()
        assert one.fates.count("x") == example.truncated_tokens
        assert "".join(one.texts) == tokenizer.decode(one.ids)
    surveyed = next(one for one in of_type(events, DataSurveyed) if not one.is_sample)
    assert surveyed.supervised_tokens == prepared.train.supervised_count
    assert surveyed.tokens == prepared.train.token_count
    assert surveyed.rows == 130


def test_each_turn_has_its_band_and_its_reason(look: Survey, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [chat("one?", "first", "two?", "second")])
    events = look(data_of(path, supervise="last_response"), ShowRow(request=2))
    row = of_type(events, RowShown)[0]
    text = {band.turn: "".join(row.texts[band.first : band.behind]) for band in row.bands}
    assert text == {1: "one?", 2: "first<end>", 3: "two?", 4: "second<end>"}
    assert [band.role for band in row.bands] == ["user", "assistant"] * 2
    assert [band.reason for band in row.bands] == ["", "not_last", "", ""]
    assert json.loads(row.written) == chat("one?", "first", "two?", "second")
    assert [row.texts[place] for place in row.special] == ["<end>"] * 4


def test_rows_are_listed_by_finding_and_worst_first(look: Survey, tmp_path: Path) -> None:
    rows = [chat("q", "a"), chat("x" * 150, "b"), chat("q", "other"), chat("x" * 180, "c")]
    path = write(tmp_path / "rows.jsonl", [*rows, chat("only a question")])
    events = look(
        data_of(path, max_tokens=100),
        ShowRow(request=2, finding="truncated_prompt", by="most_cut"),
        ShowRow(request=3, finding="contradicting_answers", rank=9),
        ShowRow(request=4, finding="no_supervised_tokens"),
        ShowRow(request=5, finding="secret_key"),
    )
    shown = of_type(events, RowShown)
    assert [(one.row, one.rank, one.count) for one in shown] == [
        (4, 0, 2),
        (3, 1, 2),
        (5, 0, 1),
        (0, 0, 0),
    ]
    assert shown[0].fates.count("x") > shown[1].fates.count("x") == 0
    assert shown[2].is_left_out
    problems = {one.code: one for one in of_type(events, DataProblemFound)}
    assert problems["truncated_prompt"].is_listed
    limits = of_type(events, LimitsMeasured)[-1]
    assert limits.max_tokens == 100
    at = limits.limits.index(100)
    assert limits.cut_rows_fraction[at] == pytest.approx(2 / 4)
    assert limits.lost_supervised_fraction[at] == 0.0
    assert limits.limits[-1] == limits.longest_tokens


def test_broken_rows_wait_for_the_users_word(look: Survey, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*([chat("q", "a")] * 120), "{broken", chat("q", "b")])
    events = look(data_of(path), ShowRow(request=2, rank=120))
    found = next(one for one in of_type(events, DataProblemFound) if one.code == "broken_rows")
    assert (found.is_fatal, found.rows, found.source) == (True, 1, 0)
    assert "line 121" in found.places[0]
    assert of_type(events, RowShown)[0].place == "rows.jsonl, line 122"


def test_an_unclear_file_comes_with_ways_to_read_it(look: Survey, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"de": "hallo", "en": "hello", "n": 1}])
    other = write(tmp_path / "other.jsonl", [chat("q", "a")])
    data = {"train": [{"source": str(path)}, {"source": str(other)}, {"source": "gone.jsonl"}]}
    events = look(data)
    unclear, sure, gone = of_type(events, SourceExamined)
    assert unclear.certainty == "unsure"
    assert [column.name for column in unclear.found_columns] == ["de", "en", "n"]
    assert unclear.options[0].columns == {"prompt": "de", "answer": "en"}
    assert (sure.certainty, sure.format) == ("sure", "messages")
    assert gone.certainty == "unreadable"
    assert of_type(events, DataSurveyed)[0].rows == 1


def test_a_template_is_tried_without_any_change(look: Survey, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [chat("q", "a"), chat("who?", "me")])
    good = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<end>{% endfor %}"
    events = look(
        data_of(path),
        TryTemplate(request=2, text=good, row=2),
        TryTemplate(request=3, text="{% for m in messages %}\n{{ oops", row=1),
        TryTemplate(request=4, text="{{ raise_exception('no system role') }}", row=1),
        ShowRow(request=5),
    )
    tried = of_type(events, TemplateTried)
    assert tried[0].row is not None
    assert "".join(tried[0].row.texts) == "[user]who?<end>[assistant]me<end>"
    assert tried[0].row.fates.endswith("lll")
    assert (tried[1].row, tried[1].line) == (None, 2)
    assert "no system role" in tried[2].message
    assert "".join(of_type(events, RowShown)[0].texts).startswith("<user>q<end>")


def test_files_are_told_before_torch_is_loaded_and_without_a_usable_model(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [chat("q", "a")])
    code = """
import json, sys
from pathlib import Path
from studio.core.jobs.control import ControlTail, send
from studio.core.jobs.orders import LookAt, SurveyOrder
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import survey
from studio.engine.jobs.requests import RequestFeed

folder = Path(sys.argv[1])
layout = RunLayout(folder / "jobs" / "look")
layout.folder.mkdir(parents=True)
data = {"train": [{"source": "rows.jsonl"}, {"source": "gone.jsonl"}]}
send(layout, LookAt(request=1, data=data))
order = SurveyOrder(base="no/model", base_folder=str(folder))
for event in survey.run(order, layout, RequestFeed(ControlTail(layout.control))):
    heavy = [name for name in ("torch", "transformers", "numpy") if name in sys.modules]
    print(type(event).__name__, *heavy, flush=True)
    if type(event).__name__ == "RequestFailed":
        break
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.splitlines() == [
        "PhaseEntered",
        "SourceExamined",
        "SourceExamined",
        "RequestFailed torch transformers numpy",
    ]


def test_settings_that_break_a_rule_are_told(look: Survey, tmp_path: Path) -> None:
    failed = of_type(look({"train": [], "max_tokens": 0}), RequestFailed)[0]
    assert failed.message.startswith("data.train")


def test_rows_held_back_and_rows_to_learn_from_are_listed_apart(
    look: Survey, tmp_path: Path
) -> None:
    path = write(tmp_path / "rows.jsonl", [chat(f"q{i}", f"mail{i % 2}@a.org") for i in range(20)])
    data = data_of(path) | {"validation": {"fraction": 0.25}}
    wishes = [ShowRow(request=9, rank=99, side=side) for side in ("any", "train", "validation")]
    events = look(data, *wishes, ShowRow(request=9, side="validation", finding="email_address"))
    shown = of_type(events, RowShown)
    assert [one.count for one in shown[1:]] == [15, 5, 5]
    assert [one.is_held_back for one in shown[1:]] == [False, True, True]
    assert [one.side for one in shown[1:]] == ["train", "validation", "validation"]
    # Asked for among all rows, a row is placed in the list of its own side.
    assert shown[0].count == (5 if shown[0].is_held_back else 15)
    surveyed = of_type(events, DataSurveyed)[-1]
    assert surveyed.findings["email_address"] == 15
    assert surveyed.validation_findings["email_address"] == 5


def test_rows_of_validation_files_are_shown_too(look: Survey, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [chat("q", "a"), chat("r", "b")])
    other = write(tmp_path / "own.jsonl", [chat("x" * 190, "c"), chat("q", "a"), chat("no answer")])
    data = data_of(path, max_tokens=150) | {"validation": [{"source": str(other)}]}
    events = look(
        data,
        ShowRow(request=2, rank=2, side="validation"),
        ShowRow(request=3, finding="truncated_prompt", side="validation", by="most_cut"),
        ShowRow(request=4, finding="validation_known"),
        ShowRow(request=5, rank=9, side="train"),
    )
    last, cut, known, train = of_type(events, RowShown)
    assert (last.place, last.count, last.files) == ("own.jsonl, line 3", 3, "validation")
    assert last.is_left_out
    assert (cut.row, cut.count, "x" in cut.fates) == (1, 1, True)
    assert (known.place, known.side) == ("own.jsonl, line 2", "validation")
    assert (train.place, train.count) == ("rows.jsonl, line 2", 2)
    problem = next(p for p in of_type(events, DataProblemFound) if p.code == "validation_known")
    assert problem.is_listed


def test_a_row_is_corrected_in_a_copy_and_the_file_stays(look: Survey, tmp_path: Path) -> None:
    rows = [chat(f"q{i}", f"a{i}", note=i) for i in range(450)]
    path = write(tmp_path / "rows.jsonl", [*rows[:3], "{broken", *rows[3:]])
    before = path.read_bytes()
    target = tmp_path / "new" / "copy.jsonl"
    better = chat("q5", "better 😀 answer", note=5)
    changed = {5: json.dumps(better), 449: json.dumps(chat("last", "one"))}
    events = look(
        data_of(path),
        OpenRow(request=2, index=5),
        TryRow(request=3, index=5, values=json.dumps(better)),
        TryRow(request=4, index=5, values=json.dumps({"messages": [{"role": "user"}]})),
        SaveCopy(request=5, changes=changed, path=str(target)),
        SaveCopy(request=6, changes=changed, path=str(path)),
    )
    opened = of_type(events, RowOpened)[0]
    assert (opened.place, opened.format) == ("rows.jsonl, line 7", "messages")
    assert json.loads(opened.values) == rows[5]
    good, bad = of_type(events, RowTried)
    assert good.row is not None
    assert "".join(good.row.texts).endswith("<assistant>better 😀 answer<end>")
    assert bad.row is None
    assert bad.message == "Turn 1 (user) has no content."
    saved = of_type(events, CopySaved)[0]
    assert (saved.rows, saved.changed_rows, saved.skipped_rows) == (450, 2, 1)
    assert [one.rows for one in of_type(events, CopyProgressed)] == [200, 400]
    wanted = [*rows[:5], better, *rows[6:449], chat("last", "one")]
    assert [json.loads(line) for line in target.read_text().splitlines()] == wanted
    assert "never changed" in of_type(events, RequestFailed)[-1].message
    assert path.read_bytes() == before


def test_tables_and_texts_become_jsonl_copies(look: Survey, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("question,answer,id\nwho?,me,7\nwhy?,so,8\n")
    text = tmp_path / "talk.txt"
    text.write_text("first\n\nsecond\n")
    sources = [{"source": str(table)}, {"source": str(text), "documents": "blank_line"}]
    row = {"question": "where?", "answer": "here", "id": "7"}
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    events = look(
        {"train": sources, "validation": {"fraction": 0}},
        SaveCopy(request=2, changes={0: json.dumps(row)}, path=str(first)),
        SaveCopy(request=3, source=1, changes={}, path=str(second)),
    )
    assert len(of_type(events, CopySaved)) == 2
    written = [json.loads(line) for line in first.read_text().splitlines()]
    assert written == [row, {"question": "why?", "answer": "so", "id": "8"}]
    assert [json.loads(line)["text"] for line in second.read_text().splitlines()] == [
        "first",
        "second",
    ]


def test_a_copy_that_is_given_up_leaves_nothing(look: Survey, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [chat("q", str(i)) for i in range(900)])
    folder = tmp_path / "copies"
    copy = SaveCopy(request=2, changes={}, path=str(folder / "copy.jsonl"))
    # Both come while the copy is written; the row is shown without waiting for it.
    events = look(data_of(path), copy, meanwhile=[ShowRow(request=3), CancelCopy(request=4)])
    assert of_type(events, CopySaved) == []
    assert list(folder.iterdir()) == []
