"""Which measures are taken, each with what it says."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QGridLayout, QLineEdit, QSpinBox, QWidget

from studio.core.results.metrics import METRICS, MetricWords
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card, build_row
from studio.gui.widgets.labels import PlainLabel, plain_tooltip

_COLUMNS = 2


class MetricsCard(Card):
    """A check box per measure, with a field for those that take an argument.

    Signals:
        changed: Other measures are wanted.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("3. Measures", parent=parent)
        self._boxes: dict[str, QCheckBox] = {}
        self._fields: dict[str, QLineEdit] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(SIZES.xl)
        grid.setVerticalSpacing(SIZES.m)
        for column in range(_COLUMNS):
            grid.setColumnStretch(column, 1)
        for number, words in enumerate(METRICS):
            cell = self._build_cell(words)
            grid.addWidget(cell, number // _COLUMNS, number % _COLUMNS)
        self.body.addLayout(grid)
        self._length = QSpinBox()
        self._length.setRange(1, 8192)
        self._length.setValue(128)
        self._length.setSuffix(" tokens")
        self._length.setAccessibleName("Longest answer")
        self._length.lineEdit().setTextMargins(SIZES.s, 0, 0, 0)
        self._length.setMinimumWidth(130)
        self._length.setToolTip(
            plain_tooltip("Longer answers are cut there. A token is about three quarters of a word")
        )
        self.body.addLayout(build_row(PlainLabel("Longest answer", wraps=False), self._length))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The chosen measures, as orders want them."""
        chosen = []
        for words in METRICS:
            field = self._fields.get(words.key)
            argument = field.text().strip() if field is not None else ""
            if self._boxes[words.key].isChecked():
                chosen.append(f"{words.key}={argument}" if argument else words.key)
        return tuple(chosen)

    @property
    def max_new_tokens(self) -> int:
        """The length at which answers are cut."""
        return self._length.value()

    @property
    def obstacle(self) -> str:
        """Why nothing can be measured with these choices, empty when it can."""
        if not self.metrics:
            return "Choose at least one measure."
        for words in METRICS:
            is_bare = words.needs_argument and words.key in self.metrics
            if is_bare:
                return f"“{words.label}” needs a {words.argument.partition(',')[0]}."
        return ""

    def _build_cell(self, words: MetricWords) -> QWidget:
        box = QCheckBox(words.label)
        box.setChecked(words.is_usual)
        box.toggled.connect(lambda _: self.changed.emit())
        self._boxes[words.key] = box
        explanation = PlainLabel(words.help, "caption")
        explanation.setContentsMargins(24, 0, 0, 0)
        content = QWidget()
        grid = QGridLayout(content)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.addWidget(box, 0, 0)
        grid.addWidget(explanation, 1, 0)
        if words.argument:
            field = QLineEdit()
            field.setPlaceholderText(words.argument[:1].upper() + words.argument[1:])
            field.setAccessibleName(f"{words.label}: {words.argument}")
            field.setEnabled(box.isChecked())
            box.toggled.connect(field.setEnabled)
            field.textChanged.connect(lambda _: self.changed.emit())
            self._fields[words.key] = field
            grid.addWidget(field, 2, 0)
        grid.setRowStretch(3, 1)
        return content
