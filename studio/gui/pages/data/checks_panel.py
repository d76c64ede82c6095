"""What was found wrong or odd in the data, worst first, with what one click can do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from studio.core.events.types import DataProblemFound
from studio.core.recipe.remedies import (
    CORRECTABLE_CODES,
    LEADS,
    DataFacts,
    Remedy,
    find_remedies,
)
from studio.gui.forms.editors.lists import RowsBox
from studio.gui.pages.data.xray_words import get_finding_name
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.icon import Icon, Tone
from studio.gui.widgets.labels import PlainLabel, allow_breaks
from studio.gui.widgets.scroll import build_scroll_area

_QUIET = ("pad_is_end", "system_merged", "left_out_by_choice", "places_filled")
_SHOWN_PLACES = 3
_LIKE = " is "


class ChecksPanel(QWidget):
    """A card per finding; passive.

    Signals:
        remedy_chosen: The settings to change, by dotted path.
        rows_wanted: A finding and the place of a row in its list.
        lead_chosen: A place of the window (see ``LEADS``) and the number of the file concerned.
        correction_wanted: A finding whose rows are to be corrected.
    """

    remedy_chosen = Signal(object)
    rows_wanted = Signal(str, int)
    lead_chosen = Signal(str, int)
    correction_wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cards = RowsBox()
        self._cards.setSpacing(SIZES.s)
        self._cards.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._empty = EmptyState("search", "", "", "")
        self._stack = QStackedWidget()
        self._stack.addWidget(self._empty)
        self._stack.addWidget(build_scroll_area(self._cards))
        box = QVBoxLayout(self)
        box.setContentsMargins(0, SIZES.m, 0, 0)
        box.addWidget(self._stack, 1)

    def show_findings(
        self,
        problems: Sequence[DataProblemFound],
        data: Mapping[str, Any],
        facts: DataFacts,
        rows_words: str,
    ) -> None:
        """Shows findings, those that forbid a run first, then by number of rows."""
        self._cards.clear()
        order = sorted(problems, key=lambda one: (not one.is_fatal, _is_quiet(one), -one.rows))
        for problem in order:
            about = replace(facts, source=problem.source)
            card = FindingCard(problem, find_remedies(problem.code, data, about))
            card.remedy_chosen.connect(self.remedy_chosen)
            card.rows_wanted.connect(self.rows_wanted)
            card.lead_chosen.connect(self.lead_chosen)
            card.correction_wanted.connect(self.correction_wanted)
            self._cards.addWidget(card)
        if not problems:
            self._empty.show_reason(
                "success", "Nothing found", f"{rows_words} were checked; nothing needs your eye."
            )
        self._stack.setCurrentIndex(1 if problems else 0)


class FindingCard(QFrame):
    """One finding.

    Signals:
        remedy_chosen: The settings to change, by dotted path.
        rows_wanted: The finding and the place of a row in its list.
        lead_chosen: A place of the window (see ``LEADS``) and the number of the file concerned.
        correction_wanted: The finding whose rows are to be corrected.
    """

    remedy_chosen = Signal(object)
    rows_wanted = Signal(str, int)
    lead_chosen = Signal(str, int)
    correction_wanted = Signal(str)

    def __init__(
        self,
        problem: DataProblemFound,
        remedies: Sequence[Remedy],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._problem = problem
        self.setProperty("kind", "card")
        self.setAccessibleName(f"{get_finding_name(problem.code)}: {problem.message}")
        tone: Tone = "error" if problem.is_fatal else "warning"
        icon = "error" if problem.is_fatal else "warning"
        if _is_quiet(problem):
            tone, icon = "accent", "note"
        texts = QVBoxLayout()
        texts.setSpacing(SIZES.xs)
        title = get_finding_name(problem.code)
        kind = " · the run does not start like this" if problem.is_fatal else ""
        texts.addWidget(PlainLabel(f"{title}{kind}", "strong"))
        for words, role in ((problem.message, "body"), (problem.remedy, "muted")):
            if words:
                texts.addWidget(PlainLabel(allow_breaks(words), role))  # type: ignore[arg-type]  # two roles
        texts.addLayout(self._build_places())
        texts.addWidget(self._build_buttons(remedies))
        row = QHBoxLayout(self)
        row.setContentsMargins(SIZES.m, SIZES.m, SIZES.m, SIZES.m)
        row.setSpacing(SIZES.m)
        row.addWidget(Icon(icon, tone), 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(texts, 1)

    def _build_places(self) -> QVBoxLayout:
        places = QVBoxLayout()
        places.setSpacing(0)
        problem = self._problem
        if problem.detail:
            places.addWidget(PlainLabel(allow_breaks(f"It says: {problem.detail}"), "caption"))
        shown = problem.places[:_SHOWN_PLACES]
        for place in shown:
            # Where a row stands is on its button; what it is like is said here.
            if not problem.is_listed or _LIKE in place:
                places.addWidget(PlainLabel(allow_breaks(place), "caption"))
        return places

    def _build_buttons(self, remedies: Sequence[Remedy]) -> QWidget:
        area = QWidget()
        line = FlowRow(area)
        buttons = []
        for remedy in remedies:
            button = Button(remedy.label)
            button.clicked.connect(partial(self.remedy_chosen.emit, dict(remedy.changes)))
            buttons.append(button)
        if self._problem.code in LEADS:
            words, target = LEADS[self._problem.code]
            lead = Button(words)
            lead.clicked.connect(partial(self.lead_chosen.emit, target, self._problem.source or 0))
            buttons.insert(0 if target == "places" else len(buttons), lead)
        for button in buttons:
            line.addWidget(button)
        if self._problem.is_listed and self._problem.code in CORRECTABLE_CODES:
            correct = Button("Correct them…", "pencil")
            correct.setToolTip("Opens the rows one by one. Your file stays; a copy is corrected.")
            correct.clicked.connect(partial(self.correction_wanted.emit, self._problem.code))
            line.addWidget(correct)
        if self._problem.is_listed:
            for rank, place in enumerate(self._problem.places[:_SHOWN_PLACES]):
                row = place.partition(_LIKE)[0]
                words = f"Look at {row}" if rank == 0 else row.rpartition(", ")[2]
                show = Button(words, "eye" if rank == 0 else "", "quiet")
                show.setAccessibleName(f"Look at {row}")
                show.clicked.connect(partial(self.rows_wanted.emit, self._problem.code, rank))
                line.addWidget(show)
        if not line.count():
            area.hide()
        return area


def _is_quiet(problem: DataProblemFound) -> bool:
    is_agreed = problem.code == "broken_rows" and not problem.is_fatal
    return problem.code in _QUIET or is_agreed


def count_findings(problems: Sequence[DataProblemFound]) -> int:
    """Return how many findings want a look; mere notes do not count."""
    return sum(not _is_quiet(problem) for problem in problems)
