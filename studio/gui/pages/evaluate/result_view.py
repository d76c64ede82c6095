"""One finished evaluation: findings, values, a chart, every row, and ways to hand it on."""

from __future__ import annotations

import time
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QStackedWidget, QVBoxLayout, QWidget

from studio.core.results.metrics import find_metric, format_value
from studio.core.results.result import EvaluationResult, ResultSummary, name_source
from studio.core.results.words import describe_findings, describe_score, is_better
from studio.core.units import format_things
from studio.gui.bridge.run_catalog import get_base_name
from studio.gui.pages.evaluate.rows_view import RowsView
from studio.gui.pages.evaluate.score_table import ScoreTable
from studio.gui.plots.interval_chart import Interval, IntervalChart
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.icon import Tone
from studio.gui.widgets.labels import ElidedLabel, PlainLabel
from studio.gui.widgets.scroll import build_scroll_area
from studio.gui.widgets.segmented import Segmented

_LEGEND = (
    "Below each value: the interval that holds the true one with 95 % confidence. A star and a "
    "colour mark differences from the first column that chance hardly explains."
)


class ResultView(QWidget):
    """Shows what it is given.

    Signals:
        save_requested: The user wants a file: ``table.md``, ``table.csv`` or ``rows.csv``.
    """

    save_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.result: EvaluationResult | None = None
        self._name = ElidedLabel("", "heading")
        self._facts = ElidedLabel("", "caption")
        self._switch = Segmented("View", (("overview", "Overview", ""), ("rows", "Row by row", "")))
        self._save = Button("Save as…", "download")
        self._save.clicked.connect(self._show_menu)
        self._findings = PlainLabel()
        self._notices = PlainLabel("", "warning")
        self._table = ScoreTable()
        self._chart_name = PlainLabel("", "strong")
        self._chart = IntervalChart()
        self._rows = RowsView()
        self._stack = QStackedWidget()
        self._stack.addWidget(build_scroll_area(self._build_overview()))
        self._stack.addWidget(self._rows)
        self._switch.chosen.connect(self._show_part)
        self._table.metric_chosen.connect(self._on_table_metric_chosen)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.m)
        box.addLayout(self._build_top())
        box.addWidget(self._stack, 1)

    def show_result(self, result: EvaluationResult) -> None:
        """Shows an evaluation, its overview first."""
        self.result = result
        summary = result.summary
        self._name.setText(summary.name)
        moment = time.strftime("%d %b %Y, %H:%M", time.localtime(summary.time_seconds))
        self._facts.setText(
            f"{format_things(summary.rows, 'row')} of {name_source(summary.data)}  ·  "
            f"base {get_base_name(summary.base)}  ·  {moment}"
        )
        self._findings.setText("\n".join(describe_findings(summary)))
        self._notices.setText("\n".join(summary.notices))
        self._notices.setVisible(bool(summary.notices))
        self._table.show_summary(summary)
        self._rows.show_result(result)
        self._show_part("overview")

    def _build_top(self) -> QHBoxLayout:
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self._name)
        texts.addWidget(self._facts)
        top = QHBoxLayout()
        top.setSpacing(SIZES.m)
        top.setContentsMargins(0, 0, SIZES.m, 0)
        top.addLayout(texts, 1)
        top.addWidget(self._switch)
        top.addWidget(self._save)
        return top

    def _build_overview(self) -> QVBoxLayout:
        box = QVBoxLayout()
        box.setContentsMargins(0, 0, SIZES.s, 0)
        box.setSpacing(SIZES.m)
        for widget in (
            self._findings,
            self._notices,
            self._table,
            PlainLabel(_LEGEND, "caption"),
            self._chart_name,
            self._chart,
        ):
            box.addWidget(widget)
        box.addStretch(1)
        return box

    def _show_part(self, key: str) -> None:
        self._switch.show_value(key)
        self._stack.setCurrentIndex(1 if key == "rows" else 0)

    def _show_menu(self) -> None:
        menu = QMenu(self)
        for key, words in (
            ("table.md", "Table as Markdown"),
            ("table.csv", "Table as CSV"),
            ("rows.csv", "All rows as CSV"),
        ):
            menu.addAction(words, partial(self.save_requested.emit, key))
        menu.popup(self._save.mapToGlobal(self._save.rect().bottomLeft()))

    def _on_table_metric_chosen(self, metric: str) -> None:
        if self.result is None:
            return
        words = find_metric(metric)
        better = next((s for s in self.result.summary.scores if s.metric == metric), None)
        way = "higher is better" if better is None or better.is_higher_better else "lower is better"
        self._chart_name.setText(f"{words.label if words else metric} ({way})")
        self._chart.show_intervals(
            _build_intervals(self.result.summary, metric),
            lambda value: format_value(metric, value),
        )
        self._rows.show_metric(metric)


def _build_intervals(summary: ResultSummary, metric: str) -> list[Interval]:
    intervals = []
    for column in summary.columns:
        score = summary.find_score(metric, column)
        if score is None:
            continue
        tone: Tone = "muted" if column == summary.columns[0] else "accent"
        if score.is_significant:
            tone = "success" if is_better(score) else "error"
        words = describe_score(score)
        intervals.append(Interval(column, score.value, score.low, score.high, tone, words))
    return intervals
