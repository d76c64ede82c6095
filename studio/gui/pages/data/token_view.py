"""Rows as the model sees them: token by token, trained or only read."""

from __future__ import annotations

from PySide6.QtCore import QEvent
from PySide6.QtGui import QColor, QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QHBoxLayout, QTextEdit, QVBoxLayout, QWidget

from studio.core.events.types import RowPreviewed
from studio.gui.theme.fonts import build_mono_font
from studio.gui.theme.tokens import SIZES, Colours, blend, colours_of
from studio.gui.widgets.labels import Chip, PlainLabel

_MAX_TOKENS = 4000
_RESTYLES = (QEvent.Type.PaletteChange, QEvent.Type.StyleChange)


class TokenView(QWidget):
    """A legend and a text in which each token has its own shade; hidden signs are made visible."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[RowPreviewed] = []
        self._dark: bool | None = None
        self._text = QTextEdit()
        self._text.setReadOnly(True)
        self._text.setAcceptRichText(False)
        self._text.setTabChangesFocus(True)
        self._text.setAccessibleName("Rows as the model sees them")
        self._count = PlainLabel("", "caption", wraps=False)
        legend = QHBoxLayout()
        legend.setSpacing(SIZES.s)
        legend.addWidget(Chip("trained", "accent"))
        legend.addWidget(PlainLabel("the model learns to write it", "caption", wraps=False))
        legend.addSpacing(SIZES.s)
        legend.addWidget(Chip("context", "plain"))
        legend.addWidget(PlainLabel("the model only reads it", "caption", wraps=False))
        legend.addStretch(1)
        legend.addWidget(self._count)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addLayout(legend)
        box.addWidget(self._text, 1)

    def clear(self) -> None:
        """Takes all rows away."""
        self._rows = []
        self._text.clear()
        self._count.setText("")

    def add_row(self, row: RowPreviewed) -> None:
        """Adds one row at the end."""
        self._rows.append(row)
        self._write(row, colours_of(self))
        trained = sum(sum(one.supervised) for one in self._rows)
        tokens = sum(len(one.ids) for one in self._rows)
        share = f"{100 * trained / tokens:.0f} % trained" if tokens else ""
        self._count.setText(f"{len(self._rows)} rows, {tokens:,} tokens, {share}")

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Colours the tokens again when the theme changes."""
        super().changeEvent(event)
        is_dark = colours_of(self).is_dark
        if event.type() in _RESTYLES and self._rows and is_dark != self._dark:
            rows = self._rows
            self.clear()
            for row in rows:
                self.add_row(row)

    def _write(self, row: RowPreviewed, colours: Colours) -> None:
        self._dark = colours.is_dark
        cursor = QTextCursor(self._text.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        heading = QTextBlockFormat()
        heading.setTopMargin(0 if cursor.atStart() else SIZES.l)
        heading.setBottomMargin(SIZES.xs)
        if not cursor.atStart():
            cursor.insertBlock()
        cursor.setBlockFormat(heading)
        cursor.insertText(describe_row(row), _build_heading(colours))
        cursor.insertBlock(QTextBlockFormat())
        formats = _build_formats(colours)
        tokens = list(zip(row.texts, row.supervised, strict=False))[:_MAX_TOKENS]
        for place, (text, is_trained) in enumerate(tokens):
            cursor.insertText(show_token(text), formats[is_trained][place % 2])
        if len(row.texts) > _MAX_TOKENS:
            cursor.insertText(" …", formats[False][0])


def show_token(text: str) -> str:
    """Return a token's text with its line breaks and tabs made visible."""
    if not text:
        return "·"
    return text.replace("\r", "").replace("\n", "↵\n").replace("\t", "→\t")


def describe_row(row: RowPreviewed) -> str:
    """Return one line about a row: its number, length, trained share and what was cut."""
    words = f"Row {row.row}: {len(row.ids):,} tokens, {sum(row.supervised):,} trained"
    return f"{words}, {row.truncated_tokens:,} cut" if row.truncated_tokens else words


def _build_heading(colours: Colours) -> QTextCharFormat:
    heading = QTextCharFormat()
    heading.setForeground(QColor(colours.muted))
    heading.setFontWeight(QFont.Weight.DemiBold)
    heading.setProperty(QTextCharFormat.Property.FontPixelSize, SIZES.caption)
    return heading


def _build_formats(
    colours: Colours,
) -> dict[bool, tuple[QTextCharFormat, QTextCharFormat]]:
    """Return two shades each for trained and context tokens, so that borders show."""

    def build(text: str, back: QColor) -> QTextCharFormat:
        form = QTextCharFormat()
        form.setFont(build_mono_font())
        form.setForeground(QColor(text))
        form.setBackground(back)
        return form

    field = colours.sunken if colours.is_dark else colours.surface
    return {
        True: (
            build(colours.text, QColor(colours.accent_soft)),
            build(colours.text, blend(colours.accent_soft, colours.accent, 0.16)),
        ),
        False: (
            build(colours.muted, QColor(field)),
            build(colours.muted, blend(field, colours.border_strong, 0.28)),
        ),
    }
