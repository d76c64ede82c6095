"""Who wins the blind tests: one row per column, with its rating and how certain that is."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from studio.core.compare.ratings import Rating
from studio.core.units import format_things
from studio.gui.theme.tokens import SIZES, colours_of
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.fold import Fold
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, plain_tooltip
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.scroll import build_scroll_area

_EXPLANATION = (
    "Turn on Blind test, ask something and vote. The letters are shuffled for every prompt, so "
    "only the answers count."
)
_METHODS = (
    "The number beside the dot is the Bradley-Terry strength: it depends on all votes at once, "
    "not on their order. 100 points more mean about 64 wins out of 100. The line shows where the "
    "true value lies with 95 % certainty; lines that overlap a lot need more votes. Elo is the "
    "number known from chess: it moves with every vote, and recent votes count more. Two columns "
    "of one adapter at different strengths are ranked apart."
)


class RanksPanel(QWidget):
    """Shows ratings, best first.

    Signals:
        export_requested: The votes are to be written as preference pairs.
    """

    export_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.notice = Notice()
        self._count = PlainLabel("", "strong")
        self._rows = QVBoxLayout()
        self._rows.setSpacing(SIZES.m)
        self._export = Button("Export preference pairs", "export")
        self._export.setToolTip(
            plain_tooltip(
                "Writes JSONL with prompt, chosen and rejected: data to train a model on what you "
                "prefer."
            )
        )
        self._export.clicked.connect(self.export_requested)
        fold = Fold("What the numbers mean", "Ranks")
        fold.body.addWidget(PlainLabel(_METHODS, "caption"))
        box = QVBoxLayout()
        box.setContentsMargins(0, 0, SIZES.s, SIZES.s)
        box.setSpacing(SIZES.m)
        box.addWidget(self.notice)
        box.addWidget(self._count)
        box.addWidget(PlainLabel(_EXPLANATION, "muted"))
        box.addLayout(self._rows)
        box.addWidget(self._export)
        box.addWidget(fold)
        box.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(build_scroll_area(box))
        self.show_ratings([], 0)

    def show_ratings(self, ratings: Sequence[Rating], votes: int) -> None:
        """Shows who won how often and how strong each one is."""
        self._count.setText(f"{format_things(votes, 'vote')} on this base")
        self._export.setEnabled(votes > 0)
        while (item := self._rows.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        low = min((rating.strength_low for rating in ratings), default=0.0)
        high = max((rating.strength_high for rating in ratings), default=1.0)
        for place, rating in enumerate(ratings, start=1):
            self._rows.addWidget(_RankRow(place, rating, low, high))


class _RankRow(QWidget):
    """Name, wins, the line of what is certain, and both numbers."""

    def __init__(self, place: int, rating: Rating, low: float, high: float) -> None:
        super().__init__()
        words = (
            f"{rating.strength:.0f} ({rating.strength_low:.0f} to {rating.strength_high:.0f}), "
            f"Elo {rating.elo:.0f}"
        )
        if rating.elo_low < rating.elo_high:  # a single vote says nothing about chance
            words += f" ({rating.elo_low:.0f} to {rating.elo_high:.0f})"
        wins = f"{rating.wins} won, {rating.ties} drawn, {rating.losses} lost"
        self.setAccessibleName(f"{place}. {rating.name}: {words}; {wins}")
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(1)
        name = ElidedLabel(f"{place}.  {rating.name}", "strong")
        box.addWidget(name)
        box.addWidget(_Interval(rating, low, high))
        box.addWidget(PlainLabel(words, "caption"))
        box.addWidget(PlainLabel(wins, "caption"))


class _Interval(QWidget):
    """A dot for the strength on a line for its interval."""

    def __init__(self, rating: Rating, low: float, high: float) -> None:
        super().__init__()
        self._rating, self._low, self._high = rating, low, high
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns the size of one line."""
        return QSize(120, 18)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the scale, the interval and the dot."""
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = self.height() / 2
        painter.setPen(QPen(QColor(colours.border), 1))
        painter.drawLine(QPointF(6, middle), QPointF(self.width() - 6, middle))
        left, right = self._find(self._rating.strength_low), self._find(self._rating.strength_high)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.accent_soft))
        painter.drawRoundedRect(QRectF(left, middle - 5, max(4.0, right - left), 10), 5, 5)
        painter.setBrush(QColor(colours.accent))
        painter.drawEllipse(QPointF(self._find(self._rating.strength), middle), 5, 5)

    def _find(self, value: float) -> float:
        span = max(1.0, self._high - self._low)
        return 6 + (self.width() - 12) * (value - self._low) / span
