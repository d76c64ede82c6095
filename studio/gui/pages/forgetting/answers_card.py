"""The prompts of one area with the answers of base and adapter side by side."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.events.measures import ProbeAnswered
from studio.core.forgetting.probes import AREAS
from studio.core.word_diff import diff_words
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card, Line
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import ElidedLabel, PlainLabel
from studio.gui.widgets.marked_text import MarkedText

_EMPTY = "(an empty answer)"


class AnswersCard(Card):
    """What was lost stands first; words that the base's answer has not are marked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._title = PlainLabel("", "heading")
        self._list = QVBoxLayout()
        self._list.setSpacing(SIZES.m)
        self.body.addWidget(self._title)
        self.body.addLayout(self._list)
        self.hide()

    def show_answers(
        self, answered: Sequence[ProbeAnswered], area: str, base: str, column: str
    ) -> None:
        """Shows the prompts of one area."""
        self._title.setText(f"{AREAS.get(area, area)}: {base} and {column}")
        while (item := self._list.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        probes = [one for one in answered if one.area == area]
        probes.sort(key=lambda one: (one.right[column], not one.right[base]))
        for place, probe in enumerate(probes):
            if place:
                self._list.addWidget(Line())
            self._list.addWidget(_build_probe(probe, base, column))
        self.show()


def _build_probe(probe: ProbeAnswered, base: str, column: str) -> QWidget:
    content = QWidget()
    box = QVBoxLayout(content)
    box.setContentsMargins(0, 0, 0, 0)
    box.setSpacing(SIZES.xs)
    box.addWidget(PlainLabel(probe.prompt, "strong"))
    if probe.expected:
        box.addWidget(PlainLabel(f"Right: {probe.expected}", "caption"))
    row = QHBoxLayout()
    row.setSpacing(SIZES.l)
    for name in (base, column):
        row.addWidget(_build_answer(probe, name, base), 1)
    box.addLayout(row)
    return content


def _build_answer(probe: ProbeAnswered, name: str, base: str) -> QWidget:
    is_right = probe.right[name]
    content = QWidget()
    box = QVBoxLayout(content)
    box.setContentsMargins(0, 0, 0, 0)
    box.setSpacing(2)
    top = QHBoxLayout()
    top.setSpacing(SIZES.xs)
    mark = Icon("check" if is_right else "close", "success" if is_right else "error", 14)
    top.addWidget(mark, 0, Qt.AlignmentFlag.AlignVCenter)
    label = ElidedLabel(
        f"{name}: {'right' if is_right else 'not right'}",
        "caption",
        mode=Qt.TextElideMode.ElideRight,
    )
    top.addWidget(label, 1)
    box.addLayout(top)
    text = MarkedText()
    text.setAccessibleName(f"Answer of {name}")
    answer = probe.answers[name].strip()
    if answer:
        text.show_pieces(diff_words(answer, probe.answers[base].strip()))
    else:
        text.show_text(_EMPTY, "muted")
    box.addWidget(text)
    box.addStretch(1)
    return content
