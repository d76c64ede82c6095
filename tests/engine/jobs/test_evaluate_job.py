"""Base and adapters are measured on the same rows; losses and answers are those of transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from studio.core.errors import DatasetInvalid, NotAvailableYet, RecipeInvalid
from studio.core.events.measures import EvaluationFinished, EvaluationProgressed, RowEvaluated
from studio.core.events.types import Event, NoticeRaised, RunFinished, RunStopped
from studio.core.jobs.orders import EvaluateOrder, Stop
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import evaluate
from studio.engine.models.files import load_tokenizer
from tests.engine.tiny_run import ScriptedControl, build_run, listen, of_type, train_run


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_chats: Path) -> Path:
    """The adapter of a short run."""
    layout = build_run(tmp_path_factory.mktemp("runs") / "run", tiny_base, tiny_chats, steps=15)
    train_run(layout)
    return layout.adapter


def _evaluate(
    order: EvaluateOrder, folder: Path, control: ScriptedControl | None = None
) -> list[Event]:
    control = control or ScriptedControl(RunLayout(folder))
    return list(listen(evaluate.run(order, RunLayout(folder), control), control))


def _order(base: Path, data: Path, **changes: object) -> EvaluateOrder:
    values = {"base": str(base), "data": str(data), "limit": 6, "max_new_tokens": 12}
    return EvaluateOrder.model_validate(values | changes)


def test_every_row_has_the_loss_and_the_answer_that_transformers_gives(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, adapter: Path
) -> None:
    order = _order(tiny_base, tiny_chats, adapters={"mine": str(adapter)})
    events = _evaluate(order, tmp_path)
    rows = of_type(events, RowEvaluated)
    assert [row.row for row in rows] == [1, 2, 3, 4, 5, 6]
    tokenizer = load_tokenizer(tiny_base)
    chats = [
        json.loads(line)["messages"] for line in tiny_chats.read_text(encoding="utf-8").splitlines()
    ]
    totals: dict[str, list[float]] = {}
    for column in ("base", "mine"):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            tiny_base, trust_remote_code=False
        ).eval()
        if column == "mine":
            model.load_adapter(str(adapter))
        for row, (question, answer) in zip(rows, chats, strict=False):
            assert (row.prompt, row.expected) == (question["content"], answer["content"])
            prompt = tokenizer(f"<user>{question['content']}<end><assistant>")["input_ids"]
            whole = prompt + tokenizer(f"{answer['content']}<end>")["input_ids"]
            ids = torch.tensor([whole])
            labels = ids.clone()
            labels[0, : len(prompt)] = -100
            with torch.no_grad():
                loss = float(model(input_ids=ids, labels=labels).loss)
            assert row.scores[column]["loss"] == pytest.approx(loss, rel=1e-4)
            totals.setdefault(column, []).extend([loss] * (len(whole) - len(prompt)))
            asked = torch.tensor([prompt])
            output = model.generate(
                asked,
                attention_mask=torch.ones_like(asked),
                max_new_tokens=12,
                do_sample=False,
                pad_token_id=0,
            )
            text = tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True)
            assert row.answers[column].rstrip("\ufffd") == text.rstrip("\ufffd")
    (finished,) = of_type(events, EvaluationFinished)
    scores = {(score.column, score.metric): score for score in finished.scores}
    for column, losses in totals.items():
        score = scores[column, "loss"]
        assert score.value == pytest.approx(sum(losses) / len(losses), rel=1e-4)
        assert score.low <= score.value <= score.high
        assert score.rows == 6
    mine = scores["mine", "loss"]
    assert mine.difference == pytest.approx(mine.value - scores["base", "loss"].value)
    assert mine.is_significant
    assert mine.value < scores["base", "loss"].value
    assert scores["base", "loss"].difference is None
    assert {metric for _, metric in scores} >= {"perplexity", "exact_match", "bleu", "chrf"}
    progress = of_type(events, EvaluationProgressed)
    assert [(one.done_rows, one.total_rows) for one in progress if one.part == "answers"][-1] == (
        6,
        6,
    )
    assert isinstance(events[-1], RunFinished)


def test_running_text_has_a_loss_and_no_answers(tmp_path: Path, tiny_base: Path) -> None:
    data = tmp_path / "text.jsonl"
    data.write_text('{"text": "one two three"}\n{"text": "four"}\n')
    events = _evaluate(_order(tiny_base, data), tmp_path)
    (finished,) = of_type(events, EvaluationFinished)
    assert {score.metric for score in finished.scores} == {"loss", "perplexity"}
    assert [notice.code for notice in of_type(events, NoticeRaised)] == ["rows_left_out"]
    with pytest.raises(DatasetInvalid, match="asks anything"):
        _evaluate(_order(tiny_base, data, metrics=("bleu",)), tmp_path)


def test_metrics_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    for metrics, error in (
        (("glue",), NotAvailableYet),
        (("regex=(",), RecipeInvalid),
        (("loss", "loss"), RecipeInvalid),
    ):
        with pytest.raises(error):
            _evaluate(_order(tmp_path / "no", tmp_path / "no", metrics=metrics), tmp_path)


def test_a_pattern_can_hold_an_equals_sign(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    order = _order(tiny_base, tiny_chats, metrics=("regex=a=b|.*",))
    (finished,) = of_type(_evaluate(order, tmp_path), EvaluationFinished)
    assert [(score.metric, score.value) for score in finished.scores] == [("regex=a=b|.*", 1.0)]


def test_an_evaluation_can_be_stopped(tmp_path: Path, tiny_base: Path, tiny_chats: Path) -> None:
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(lambda events: bool(of_type(events, EvaluationProgressed)), Stop())
    events = _evaluate(_order(tiny_base, tiny_chats), tmp_path, control)
    assert events[-1] == RunStopped(step=0)
    assert not of_type(events, EvaluationFinished)
