"""Evaluations survive being kept, and other programs can read what is handed on."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.events.measures import ColumnScore, EvaluationFinished, RowEvaluated
from studio.core.jobs.orders import EvaluateOrder
from studio.core.paths import Home
from studio.core.results.metrics import find_metric, format_value
from studio.core.results.result import EvaluationResult, build_result, find_advantage
from studio.core.results.store import ResultStore
from studio.core.results.tables import build_markdown, build_rows_csv, build_scores_csv
from studio.core.results.words import describe_findings


def build(seconds: float = 1000.0, name: str = "mine") -> EvaluationResult:
    order = EvaluateOrder(base="/m/b", adapters={name: "/a"}, data="/d/rows.jsonl")
    shared = {"metric": "loss", "label": "Loss", "is_higher_better": False, "rows": 2}
    scores = (
        ColumnScore(column="base", value=2.0, low=1.5, high=2.5, **shared),
        ColumnScore(
            column=name,
            value=1.0,
            low=0.5,
            high=1.5,
            difference=-1.0,
            difference_low=-1.2,
            difference_high=-0.8,
            p_value=0.001,
            is_significant=True,
            **shared,
        ),
    )
    rows = [
        RowEvaluated(
            row=number,
            prompt="=1+1",
            expected='ü, "x"\nnew',
            answers={"base": "no", name: "yes"},
            scores={"base": {"loss": 2.0}, name: {"loss": float(number)}},
        )
        for number in (1, 2)
    ]
    finished = EvaluationFinished(columns=("base", name), rows=2, scores=scores)
    return build_result(order, finished, rows, seconds=seconds)


def test_a_kept_evaluation_is_opened_as_it_was(tmp_path: Path) -> None:
    store = ResultStore(Home(tmp_path))
    kept = [store.save(build(seconds)) for seconds in (5.0, 5.0, 9.0)]
    assert len({one.folder for one in kept}) == 3
    assert [summary.time_seconds for _, summary in store.list()] == [9.0, 5.0, 5.0]
    assert kept[0].folder is not None
    assert store.load(kept[0].folder) == kept[0]
    store.delete(kept[0].folder)
    assert len(store.list()) == 2
    with pytest.raises(FileUnusable):
        store.load(kept[0].folder)
    with pytest.raises(FileUnusable):
        store.delete(tmp_path)


def test_a_damaged_evaluation_is_left_out_of_the_list(tmp_path: Path) -> None:
    store = ResultStore(Home(tmp_path))
    kept = store.save(build())
    assert kept.folder is not None
    (kept.folder / "summary.json").write_text("{}", encoding="utf-8")
    assert store.list() == []
    with pytest.raises(FileUnusable, match="damaged"):
        store.load(kept.folder)


def test_spreadsheets_get_every_value_and_run_no_formulas() -> None:
    result = build()
    scores = list(csv.DictReader(io.StringIO(build_scores_csv(result.summary))))
    assert [row["column"] for row in scores] == ["base", "mine"]
    assert float(scores[1]["difference"]) == -1.0
    rows = list(csv.DictReader(io.StringIO(build_rows_csv(result))))
    assert rows[0]["prompt"] == "'=1+1"
    assert rows[1]["mine: answer"] == "yes"
    assert rows[1]["mine: loss"] == "2.0"
    assert rows[0]["expected"] == 'ü, "x"\nnew'


def test_markdown_marks_what_is_hardly_luck_and_stays_a_table() -> None:
    text = build_markdown(build(name="a|b\n*c*").summary)
    (line,) = [line for line in text.splitlines() if line.startswith("| Loss")]
    assert line == "| Loss | 2 [1.5, 2.5] | 1 * [0.5, 1.5] |"
    assert "a\\|b \\*c\\*" in text


def test_values_are_written_as_people_read_them() -> None:
    assert format_value("exact_match", 0.125) == "12.5 %"
    assert format_value("regex=a=b", 1.0) == "100.0 %"
    assert format_value("bleu", 12.3456) == "12.35"
    assert find_metric("glue") is None
    row = build().rows[0]
    assert find_advantage(row, "loss", "mine", "base") == -1.0
    assert find_advantage(row, "bleu", "mine", "base") is None


@pytest.mark.parametrize(
    ("total", "words"),
    [
        (3, "adapter is better in M1, M2 and M3 than base."),
        (5, "adapter is better in all 5 measures than base."),
        (6, "adapter is better in 5 of 6 measures (M1, M2 and more) than base."),
    ],
)
def test_many_measures_are_counted_instead_of_named(total: int, words: str) -> None:
    summary = build(name="adapter").summary
    (score,) = (one for one in summary.scores if one.column == "adapter")
    scores = tuple(
        score.model_copy(update={"label": f"M{place + 1}", "is_significant": place < 5})
        for place in range(total)
    )
    assert describe_findings(summary.model_copy(update={"scores": scores}))[0] == words
