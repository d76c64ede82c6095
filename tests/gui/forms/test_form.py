from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import QAbstractSpinBox, QComboBox, QLineEdit
from pytestqt.qtbot import QtBot

from studio.core.recipe.fields import get_field_table
from studio.core.recipe.problem import Problem
from studio.gui.forms.draft import build_defaults
from studio.gui.forms.editors.base import Editor
from studio.gui.forms.editors.build import build_editor
from studio.gui.forms.editors.numbers import DecimalSpinBox, LogSpinBox
from studio.gui.forms.form import SECTION_ORDER, RecipeForm, iter_form_fields
from studio.gui.forms.words import format_number, get_choice_name

FIELDS = list(iter_form_fields())
OTHER_VALUES: dict[str, Any] = {
    "adapter.targets": ["q_proj", "*.mlp.*"],
    "adapter.layers": "2-5",
    "adapter.overrides": [{"match": "*.mlp.*", "rank": 4, "alpha": 8.0}],
    "data.validation": [{"source": "/data/check.jsonl"}],
    "data.max_tokens": 512,
    "train.steps": 60,
    "train.learning_rate": 3e-5,
    "train.sample_prompts": ["Who are you?", "What is 4 + 5?"],
    "train.devices": "cuda:0",
    "adapter.resume_from": "/adapters/old",
}


def build(path: str) -> Editor:
    return build_editor(get_field_table()[path])


def test_every_setting_of_the_recipe_has_a_row_or_a_page() -> None:
    missing = {
        spec.path
        for spec in get_field_table().values()
        if "[]" not in spec.path and spec.path.count(".") < 2
    } - {spec.path for spec in FIELDS}
    assert missing == {"version", "base.model", "data.train"}


@pytest.mark.parametrize("spec", FIELDS, ids=lambda spec: spec.path)
def test_showing_a_value_changes_nothing(qtbot: QtBot, spec: Any) -> None:
    editor = build_editor(spec)
    qtbot.addWidget(editor)
    told: list[object] = []
    editor.edited.connect(told.append)
    editor.show_value(spec.default)
    if spec.path in OTHER_VALUES:
        editor.show_value(OTHER_VALUES[spec.path])
        editor.show_value(spec.default)
    assert told == []


def test_the_form_shows_problems_beside_their_editors(qtbot: QtBot) -> None:
    form = RecipeForm()
    qtbot.addWidget(form)
    form.show_values(build_defaults())
    form.show_problems([Problem("adapter.rank", "must be at least 1.", "Try 8.")])
    row = form._rows["adapter.rank"]
    assert not row._problem.isHidden()
    assert row._problem.text() == "Must be at least 1. Try 8."
    assert row._problem.property("role") == "error"
    form.show_problems([])
    assert row._problem.isHidden()


def test_an_error_in_a_folded_setting_unfolds_it(qtbot: QtBot) -> None:
    form = RecipeForm()
    qtbot.addWidget(form)
    assert not form._folds["train"].is_open
    form.show_problems([Problem("train.seed", "must be a whole number.")])
    assert form._folds["train"].is_open


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("adapter.overrides[2].rank", "adapter.overrides"),
        ("data.validation.fraction", "data.validation"),
        ("train.epochs", "train.epochs"),
    ],
)
def test_problems_of_parts_belong_to_the_row_of_the_whole(
    qtbot: QtBot, path: str, row: str
) -> None:
    form = RecipeForm(SECTION_ORDER)
    qtbot.addWidget(form)
    form.show_problems([Problem(path, "is odd.", severity="warning")])
    assert not form._rows[row]._problem.isHidden()


def test_values_that_are_not_built_yet_cannot_be_chosen(qtbot: QtBot) -> None:
    editor = build("base.quantisation")
    qtbot.addWidget(editor)
    box = editor.findChild(QComboBox)
    by_value = {box.itemData(i): box.model().item(i) for i in range(box.count())}
    assert by_value["none"].isEnabled()
    later = get_field_table()["base.quantisation"].later
    for value in later:
        assert not by_value[value].isEnabled()
        assert "not available yet" in by_value[value].text()


def test_patterns_are_typed_with_commas(qtbot: QtBot) -> None:
    editor = build("adapter.targets")
    qtbot.addWidget(editor)
    editor.show_value(["q_proj"])
    field = next(f for f in editor.findChildren(QLineEdit) if not f.isHidden())
    field.setText("q_proj, *.mlp.* ,")
    with qtbot.waitSignal(editor.edited) as told:
        field.editingFinished.emit()
    assert told.args == [["q_proj", "*.mlp.*"]]


def test_automatic_gives_way_to_a_number_and_back(qtbot: QtBot) -> None:
    editor = build("data.max_tokens")
    qtbot.addWidget(editor)
    editor.show_value("auto")
    box = editor.findChild(QAbstractSpinBox)
    assert not box.isEnabled()
    told: list[object] = []
    editor.edited.connect(told.append)
    editor._switch.click()
    assert box.isEnabled()
    editor._switch.click()
    assert told == [1024, "auto"]


def test_a_share_is_shown_in_percent(qtbot: QtBot) -> None:
    editor = build("train.warmup_fraction")
    qtbot.addWidget(editor)
    editor.show_value(0.03)
    box = editor.findChild(DecimalSpinBox)
    assert box.text() == "3 %"
    with qtbot.waitSignal(editor.edited) as told:
        box.setValue(12.5)
    assert told.args == [0.125]


def test_the_learning_rate_walks_in_handy_steps(qtbot: QtBot) -> None:
    box = LogSpinBox()
    qtbot.addWidget(box)
    box.setRange(1e-9, 1)
    box.setValue(2e-4)
    walked = []
    for _ in range(5):
        box.stepBy(1)
        walked.append(box.text())
    assert walked == ["3e-4", "5e-4", "7e-4", "0.001", "0.002"]
    box.stepBy(-6)
    assert box.text() == "1e-4"


@pytest.mark.parametrize(
    ("typed", "value"), [("2e-4", 2e-4), ("0,0005", 5e-4), ("1E-3", 1e-3), (".01", 0.01)]
)
def test_numbers_can_be_typed_as_people_write_them(qtbot: QtBot, typed: str, value: float) -> None:
    box = LogSpinBox()
    qtbot.addWidget(box)
    box.setRange(1e-9, 1)
    box.lineEdit().clear()
    qtbot.keyClicks(box.lineEdit(), typed)
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert box.value() == pytest.approx(value)


def test_letters_are_refused_as_numbers(qtbot: QtBot) -> None:
    box = DecimalSpinBox()
    qtbot.addWidget(box)
    assert box.validate("12x", 3)[0] == QValidator.State.Invalid
    assert box.validate("1e-", 3)[0] == QValidator.State.Intermediate


def test_the_wheel_does_not_change_a_value_without_focus(qtbot: QtBot) -> None:
    form = RecipeForm()
    qtbot.addWidget(form)
    form.show_values(build_defaults())
    box = form._rows["adapter.rank"].findChild(QAbstractSpinBox)
    told: list[object] = []
    form.value_edited.connect(lambda path, value: told.append((path, value)))
    from PySide6.QtCore import QPoint, QPointF
    from PySide6.QtGui import QWheelEvent
    from PySide6.QtWidgets import QApplication

    event = QWheelEvent(
        QPointF(5, 5), QPointF(5, 5), QPoint(0, 120), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(box, event)
    assert told == []


@pytest.mark.parametrize(
    ("number", "text"), [(2e-4, "2e-4"), (0.05, "0.05"), (32.0, "32"), (1.5e-05, "1.5e-5")]
)
def test_numbers_are_written_short(number: float, text: str) -> None:
    assert format_number(number) == text
    assert float(text) == number


def test_choices_have_names_for_people() -> None:
    assert get_choice_name("all-linear") == "All linear layers"
    assert get_choice_name("bfloat16") == "bfloat16"
    assert get_choice_name("last_response") == "Last response"


def test_folded_settings_are_made_when_they_are_wanted(qtbot: QtBot) -> None:
    form = RecipeForm()
    qtbot.addWidget(form)
    values = build_defaults()
    values["train"]["seed"] = 7
    form.show_values(values)
    assert "train.seed" not in form._rows
    row = form.focus_setting("train.seed")
    assert row is not None
    assert row.findChild(QAbstractSpinBox).text() == "7"
    assert form.focus_setting("no.such.setting") is None


def test_columns_are_typed_as_pairs(qtbot: QtBot) -> None:
    editor = build("data.train[].columns")
    qtbot.addWidget(editor)
    editor.show_value({"prompt": "question"})
    field = editor.findChild(QLineEdit)
    assert field.text() == "prompt: question"
    told: list[object] = []
    editor.edited.connect(told.append)
    qtbot.keyClicks(field, ", completion : reply")
    assert told[-1] == {"prompt": "question", "completion": "reply"}
