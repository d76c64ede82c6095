"""One measured row in full: question, expected text, and the answers side by side."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from studio.core.events.measures import RowEvaluated
from studio.core.results.metrics import find_metric, format_value
from studio.core.word_diff import diff_words
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.flow_text import FlowText
from studio.gui.widgets.labels import ElidedLabel, PlainLabel
from studio.gui.widgets.marked_text import MarkedText
from studio.gui.widgets.scroll import build_scroll_area

_EMPTY = "(an empty answer)"


class RowDetail(QWidget):
    """Words that an answer has and the first column's answer has not are marked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._question = FlowText()
        self._expected = FlowText()
        self._expected_name = PlainLabel("Expected", "overline", wraps=False)
        self._question.setAccessibleName("Question")
        self._expected.setAccessibleName("Expected text")
        self._cards = QVBoxLayout()
        self._cards.setSpacing(SIZES.s)
        content = QVBoxLayout()
        content.setContentsMargins(SIZES.s, 0, SIZES.m, 0)
        content.setSpacing(SIZES.xs)
        for widget in (
            PlainLabel("Question", "overline", wraps=False),
            self._question,
            self._expected_name,
            self._expected,
        ):
            content.addWidget(widget)
        content.addSpacing(SIZES.s)
        content.addLayout(self._cards)
        content.addStretch(1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(build_scroll_area(content))

    def show_row(self, row: RowEvaluated | None) -> None:
        """Shows a row, None shows nothing."""
        while (item := self._cards.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self._question.show_text("" if row is None else row.prompt or "(running text)")
        self._expected.show_text("" if row is None else row.expected)
        for widget in (self._expected_name, self._expected):
            widget.setVisible(row is not None and bool(row.expected))
        if row is None:
            return
        first = next(iter(row.answers.values()), "")
        for place, column in enumerate(row.scores):
            self._cards.addWidget(_build_card(row, column, first if place else None))


def _build_card(row: RowEvaluated, column: str, first: str | None) -> QWidget:
    card = QFrame()
    card.setProperty("kind", "card")
    box = QVBoxLayout(card)
    box.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.m)
    box.setSpacing(SIZES.xs)
    box.addWidget(ElidedLabel(column, "strong"))
    if column in row.answers:
        answer = row.answers[column]
        text = MarkedText()
        text.setAccessibleName(f"Answer of {column}")
        if answer:
            text.show_pieces(diff_words(answer, answer if first is None else first))
        else:
            text.show_text(_EMPTY, "muted")
        box.addWidget(text)
    box.addWidget(PlainLabel(_describe_scores(row, column), "caption"))
    return card


def _describe_scores(row: RowEvaluated, column: str) -> str:
    parts = []
    for metric, value in row.scores[column].items():
        words = find_metric(metric)
        parts.append(f"{words.label if words else metric} {format_value(metric, value)}")
    return "  ·  ".join(parts)
