"""A row as coloured tokens, told apart by line and weight as well as by colour."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextOption,
)
from PySide6.QtWidgets import QSizePolicy, QTextEdit, QToolTip, QWidget

from studio.core.events.types import RowShown
from studio.gui.pages.data.xray_words import (
    LOOKS,
    Segment,
    describe_band,
    explain_nothing,
    explain_token,
    iter_segments,
    split_signs,
)
from studio.gui.theme.fonts import build_mono_font
from studio.gui.theme.tokens import SIZES, Colours, blend, colours_of
from studio.gui.widgets.labels import plain_tooltip

_RESTYLES = (QEvent.Type.PaletteChange, QEvent.Type.StyleChange)
_ROLE_COLOURS = {"user": 0, "assistant": 2, "system": 3, "tool": 1, "text": 4}
Sign = Literal["learnt", "read", "cut", "special"]


@dataclass(frozen=True)
class _Formats:
    """The formats of tokens: by look, by even or odd place, by being a control mark."""

    tokens: dict[tuple[str, bool, bool], QTextCharFormat]
    faint: QColor


class XrayText(QTextEdit):
    """Shows one row; the caret walks from token to token, the pointer explains.

    A compact text has who speaks in the line of what is said, so that small boxes show the answer.

    Signals:
        token_pointed: The place of the token at the pointer or the caret, -1 beside the tokens.
    """

    token_pointed = Signal(int)

    def __init__(
        self,
        name: str = "The row token by token",
        parent: QWidget | None = None,
        *,
        is_compact: bool = False,
    ) -> None:
        super().__init__(parent)
        self._is_compact = is_compact
        self._row: RowShown | None = None
        self._special: frozenset[int] = frozenset()
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._is_dark: bool | None = None
        self._shows_signs = True
        self.setReadOnly(True)
        self.setAcceptRichText(False)
        self.setTabChangesFocus(True)
        self.setUndoRedoEnabled(False)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setAccessibleName(name)
        self.cursorPositionChanged.connect(self._on_cursor_moved)

    @property
    def row(self) -> RowShown | None:
        """The row that is shown."""
        return self._row

    def show_row(self, row: RowShown | None) -> None:
        """Shows another row from its beginning, or none."""
        self._row = row
        self._special = frozenset(() if row is None else row.special)
        self._write()

    def show_signs(self, shows_signs: bool) -> None:
        """Shows or hides the signs that stand for blanks and line ends."""
        self._shows_signs = shows_signs
        self._write()

    def find_token(self, position: int) -> int:
        """Return which token stands at a position of the text, -1 where there is none."""
        index = bisect_right(self._starts, position) - 1
        return index if index >= 0 and position < self._ends[index] else -1

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Explains the token below the pointer."""
        super().mouseMoveEvent(event)
        place = self._find_below(event)
        self.token_pointed.emit(place)
        if place >= 0 and self._row is not None:
            words = plain_tooltip(explain_token(self._row, place))
            QToolTip.showText(event.globalPosition().toPoint(), words, self.viewport())
        else:
            QToolTip.hideText()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Colours the tokens again when the theme changes."""
        super().changeEvent(event)
        is_restyled = event.type() in _RESTYLES and self._row is not None
        if is_restyled and colours_of(self).is_dark != self._is_dark:
            self._write()

    def _find_below(self, event: QMouseEvent) -> int:
        position = self.cursorForPosition(event.position().toPoint()).position()
        # Qt gives the nearest gap between two letters: the letter is before or behind it.
        return max(self.find_token(position), self.find_token(position - 1))

    def _on_cursor_moved(self) -> None:
        self.token_pointed.emit(self.find_token(self.textCursor().position()))

    def _write(self) -> None:
        self._starts, self._ends = [], []
        colours = colours_of(self)
        self._is_dark = colours.is_dark
        self.setUpdatesEnabled(False)
        self.document().clear()
        if self._row is not None:
            cursor = QTextCursor(self.document())
            cursor.beginEditBlock()
            formats = build_formats(colours)
            cursor.insertText(explain_nothing(self._row), _build_heading(colours.muted))
            for segment in iter_segments(self._row):
                self._write_segment(cursor, self._row, segment, formats, colours)
            cursor.endEditBlock()
        self.moveCursor(QTextCursor.MoveOperation.Start)
        self.setUpdatesEnabled(True)

    def _write_segment(
        self,
        cursor: QTextCursor,
        row: RowShown,
        segment: Segment,
        formats: _Formats,
        colours: Colours,
    ) -> None:
        block = QTextBlockFormat()
        block.setLineHeight(128, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        if segment.band is not None:
            heading = block if self._is_compact else QTextBlockFormat()
            heading.setTopMargin(0 if self._is_compact else SIZES.s)
            self._open_block(cursor, heading)
            colour = colours.series[_ROLE_COLOURS[segment.band.role]]
            cursor.insertText("▌ ", _build_heading(colour))
            cursor.insertText(describe_band(segment.band), _build_heading(colours.muted))
            block.setLeftMargin(SIZES.m)
        if not self._is_compact:
            self._open_block(cursor, block)
        elif segment.band is not None:
            cursor.insertText("  ", _build_heading(colours.muted))
        for place in range(segment.first, segment.behind):
            if row.hidden_tokens and place == row.hidden_at:
                self._write_gap(cursor, row, colours, block)
            keeps_line = self._is_compact and segment.band is None
            self._write_token(cursor, row, place, formats, keeps_line=keeps_line)

    def _open_block(self, cursor: QTextCursor, block: QTextBlockFormat) -> None:
        if cursor.position() > 0:
            cursor.insertBlock(block)
        else:
            cursor.setBlockFormat(block)

    def _write_gap(
        self, cursor: QTextCursor, row: RowShown, colours: Colours, block: QTextBlockFormat
    ) -> None:
        cursor.insertBlock(block)
        words = f"… {row.hidden_tokens:,} more tokens are not shown …"
        cursor.insertText(words, _build_heading(colours.muted))
        cursor.insertBlock(block)

    def _write_token(
        self,
        cursor: QTextCursor,
        row: RowShown,
        place: int,
        formats: _Formats,
        *,
        keeps_line: bool,
    ) -> None:
        key = (LOOKS[row.fates[place]], bool(place % 2), place in self._special)
        form = formats.tokens[key]
        self._starts.append(cursor.position())
        if not self._shows_signs and row.texts[place]:
            cursor.insertText(row.texts[place].replace("\r\n", "\n"), form)
        else:
            for piece, is_sign in split_signs(row.texts[place]):
                if is_sign:
                    faint = QTextCharFormat(form)
                    faint.setForeground(formats.faint)
                    cursor.insertText(piece.rstrip("\n") if keeps_line else piece, faint)
                else:
                    cursor.insertText(piece, form)
        self._ends.append(cursor.position())


class SignSample(QWidget):
    """A word drawn as tokens of one kind are drawn, for the legend."""

    def __init__(self, sign: Sign, words: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sign = sign
        self.setAccessibleName(f"{sign}: {words}")
        self.setToolTip(plain_tooltip(f"{sign.capitalize()}: {words}"))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Returns the size of the word with a little room."""
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self._sign) + 16, metrics.height() + 6)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draws the word."""
        del event
        look = "read" if self._sign == "special" else self._sign
        form = build_formats(colours_of(self)).tokens[(look, False, self._sign == "special")]
        painter = QPainter(self)
        painter.fillRect(self.rect(), form.background())
        font = form.font()
        font.setUnderline(form.fontUnderline())
        font.setStrikeOut(form.fontStrikeOut())
        font.setOverline(form.fontOverline())
        font.setPixelSize(SIZES.caption)
        painter.setFont(font)
        painter.setPen(form.foreground().color())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._sign)


def build_formats(colours: Colours) -> _Formats:
    """Return the formats of tokens in a theme.

    Learnt tokens are underlined, cut ones struck out, control marks bold below a line; so no one
    depends on seeing colours. Two shades in turn show where one token ends.
    """
    field = colours.sunken if colours.is_dark else colours.surface
    backs = {
        "learnt": (QColor(colours.accent_soft), blend(colours.accent_soft, colours.accent, 0.16)),
        "read": (QColor(field), blend(field, colours.border_strong, 0.28)),
        "cut": (QColor(colours.error_soft), blend(colours.error_soft, colours.error, 0.14)),
    }
    inks = {"learnt": colours.text, "read": colours.muted, "cut": colours.error}
    tokens = {}
    for look, shades in backs.items():
        for is_odd in (False, True):
            for is_special in (False, True):
                form = QTextCharFormat()
                form.setFont(build_mono_font())
                form.setForeground(QColor(inks[look]))
                form.setBackground(shades[is_odd])
                form.setFontUnderline(look == "learnt")
                form.setFontStrikeOut(look == "cut")
                form.setFontOverline(is_special)
                form.setFontWeight(QFont.Weight.Bold if is_special else QFont.Weight.Normal)
                tokens[(look, is_odd, is_special)] = form
    return _Formats(tokens, blend(colours.muted, field, 0.35))


def _build_heading(colour: str) -> QTextCharFormat:
    heading = QTextCharFormat()
    heading.setForeground(QColor(colour))
    heading.setFontWeight(QFont.Weight.DemiBold)
    heading.setProperty(QTextCharFormat.Property.FontPixelSize, SIZES.caption)
    return heading
