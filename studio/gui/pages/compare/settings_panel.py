"""How answers are written: every setting with a sentence that says what it does."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDoubleSpinBox, QPlainTextEdit, QSpinBox, QVBoxLayout, QWidget

from studio.gui.pages.compare.options import AskOptions
from studio.gui.parts.base_form import FORM_HELP, FORM_NAME, BaseFormBox
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Line
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.scroll import build_scroll_area
from studio.gui.widgets.segmented import Segmented

_CHANCE = AskOptions(temperature=0.8, top_p=0.95)


class SettingsPanel(QWidget):
    """Editors for ``AskOptions``.

    Signals:
        changed: Some value changed.
        form_chosen: The base is to be held in this form, a ``BaseForm``.
        start_over_requested: What was said so far is to be forgotten.
    """

    changed = Signal()
    form_chosen = Signal(str)
    start_over_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choices = {"mode": "chat", "memory": "alone", "chance": "greedy"}
        self._mode = self._build_choice(
            "mode", "Kind of prompt", (("chat", "Chat", "chat"), ("raw", "Plain text", "file"))
        )
        self._memory = self._build_choice(
            "memory", "Memory", (("alone", "Each alone", ""), ("talk", "Conversation", ""))
        )
        self._chance = self._build_choice(
            "chance", "Choice of words", (("greedy", "Most likely", ""), ("draw", "By chance", ""))
        )
        self._over = Button("Start the conversation over", "refresh")
        self._over.clicked.connect(self.start_over_requested)
        self._base_form = BaseFormBox()
        self._base_form.form_chosen.connect(lambda: self.form_chosen.emit(self._base_form.form))
        self._system = _build_text("System prompt", "For example: You answer in one sentence.", 64)
        self._stops = _build_text("Stop texts", "One per line", 48)
        self._length = _build_whole(1, 8192, 256)
        self._temperature = _build_share(0.05, 2.0, 0.1, _CHANCE.temperature)
        self._top_p = _build_share(0.05, 1.0, 0.05, _CHANCE.top_p)
        self._top_k = _build_whole(0, 1000, 0)
        self._min_p = _build_share(0.0, 1.0, 0.01, 0.0)
        self._penalty = _build_share(0.5, 2.0, 0.05, 1.0)
        self._seed = _build_whole(0, 2**31 - 1, 0)
        self._cells: dict[str, QWidget] = {}
        self._box = QVBoxLayout()
        self._box.setContentsMargins(0, 0, SIZES.s, SIZES.s)
        self._box.setSpacing(SIZES.m)
        self._build()
        self._box.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(build_scroll_area(self._box))
        self._show_what_counts()

    @property
    def options(self) -> AskOptions:
        """The values as they are now."""
        is_greedy = self._choices["chance"] == "greedy"
        stops = [text.replace("\\n", "\n") for text in self._stops.toPlainText().split("\n")]
        return AskOptions(
            is_raw=self._choices["mode"] == "raw",
            is_conversation=self._choices["memory"] == "talk",
            system=self._system.toPlainText().strip(),
            max_new_tokens=self._length.value(),
            temperature=0.0 if is_greedy else self._temperature.value(),
            top_p=1.0 if is_greedy else self._top_p.value(),
            top_k=0 if is_greedy else self._top_k.value(),
            min_p=0.0 if is_greedy else self._min_p.value(),
            repetition_penalty=self._penalty.value(),
            seed=self._seed.value(),
            stop_texts=tuple(text for text in stops if text),
        )

    def _build_choice(
        self, key: str, name: str, choices: tuple[tuple[str, str, str], ...]
    ) -> Segmented:
        segmented = Segmented(name, choices)
        segmented.show_value(self._choices[key])
        segmented.chosen.connect(lambda value: self._on_choice_chosen(key, value))
        return segmented

    def _build(self) -> None:
        self._add(
            self._mode,
            "Kind of prompt",
            "Chat wraps the prompt as the model was taught; plain text is simply continued.",
        )
        self._add(
            self._memory,
            "Memory",
            "In a conversation each column remembers what was asked and what it answered itself.",
        )
        self._box.addWidget(self._over)
        self._add(self._system, "System prompt", "Told to the model before everything else.")
        self._add(
            self._length, "Longest answer", "In tokens; one is about three quarters of a word."
        )
        self._add(
            self._stops,
            "Stop texts",
            "An answer ends before any of these, one per line; \\n is a line break.",
        )
        self._add(
            self._penalty,
            "Repetition penalty",
            "Above 1 words that were used already become less likely; 1 leaves them alone.",
        )
        self._box.addWidget(Line())
        self._add(
            self._chance,
            "Choice of words",
            "Most likely gives the same answer every time; by chance gives livelier ones.",
        )
        self._add(
            self._temperature,
            "Temperature",
            "Low values stay close to the likeliest words, high values surprise.",
        )
        self._add(
            self._top_p,
            "Top-p",
            "Only the likeliest words that together have this share of the chance; 1 is all.",
        )
        self._add(self._top_k, "Top-k", "Only this many of the likeliest words; 0 means no limit.")
        self._add(
            self._min_p,
            "Min-p",
            "Leaves out words less likely than this share of the likeliest one; 0 is off.",
        )
        self._add(
            self._seed,
            "Seed",
            "The same in every column, so that columns differ only by their adapter. "
            "The same seed gives the same answers.",
        )
        self._box.addWidget(Line())
        self._add(self._base_form, FORM_NAME, f"{FORM_HELP} A change loads the base again.")

    def _add(self, editor: QWidget, name: str, help_text: str) -> None:
        cell = QWidget()
        box = QVBoxLayout(cell)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(2)
        label = PlainLabel(name, "strong", wraps=False)
        label.setBuddy(editor)
        editor.setAccessibleName(name)
        editor.setAccessibleDescription(help_text)
        box.addWidget(label)
        box.addWidget(editor)
        box.addWidget(PlainLabel(help_text, "caption"))
        self._cells[name] = cell
        self._box.addWidget(cell)
        if isinstance(editor, QPlainTextEdit):
            editor.textChanged.connect(self.changed)
        elif isinstance(editor, QSpinBox | QDoubleSpinBox):
            editor.valueChanged.connect(self.changed)
            editor.setFixedWidth(118)
            editor.lineEdit().setTextMargins(SIZES.s, 0, 0, 0)

    def _on_choice_chosen(self, key: str, value: str) -> None:
        self._choices[key] = value
        self._show_what_counts()
        self.changed.emit()

    def _show_what_counts(self) -> None:
        has_chance = self._choices["chance"] == "draw"
        for name in ("Temperature", "Top-p", "Top-k", "Min-p", "Seed"):
            self._cells[name].setVisible(has_chance)
        self._cells["System prompt"].setVisible(self._choices["mode"] == "chat")
        self._over.setVisible(self._choices["memory"] == "talk")


def _build_text(name: str, hint: str, height: int) -> QPlainTextEdit:
    edit = QPlainTextEdit()
    edit.setPlaceholderText(hint)
    edit.setAccessibleName(name)
    edit.setTabChangesFocus(True)
    edit.setFixedHeight(height)
    return edit


def _build_whole(low: int, high: int, value: int) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(low, high)
    spin.setValue(value)
    return spin


def _build_share(low: float, high: float, step: float, value: float) -> QDoubleSpinBox:
    spin = QDoubleSpinBox()
    spin.setRange(low, high)
    spin.setSingleStep(step)
    spin.setValue(value)
    return spin
