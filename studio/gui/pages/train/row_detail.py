"""One row in full: its text as the file holds it, its course, and what happened to it."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.events.types import RowRead
from studio.core.microscope.stories import RowStory
from studio.core.microscope.words import describe_story
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.flow_text import FlowText
from studio.gui.widgets.labels import PlainLabel, allow_breaks
from studio.gui.widgets.scroll import build_scroll_area
from studio.gui.widgets.sparkline import Sparkline

_CHANGED = "The file was changed since: this is what stands at this place now."


class RowDetail(QWidget):
    """The row under the cursor; passive."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._place = PlainLabel("", "strong")
        self._story = PlainLabel("", "muted")
        self._changed = PlainLabel(_CHANGED, "warning")
        self._course = Sparkline()
        self._prompt_name = PlainLabel("Question", "overline", wraps=False)
        self._answer_name = PlainLabel("Answer", "overline", wraps=False)
        self._prompt, self._answer = FlowText(), FlowText()
        self._prompt.setAccessibleName("Question")
        self._answer.setAccessibleName("Answer")
        content = QVBoxLayout()
        content.setContentsMargins(SIZES.s, 0, SIZES.m, 0)
        content.setSpacing(SIZES.xs)
        for widget in (
            self._place,
            self._changed,
            self._prompt_name,
            self._prompt,
            self._answer_name,
            self._answer,
            self._course,
            self._story,
        ):
            content.addWidget(widget)
        content.addStretch(1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(build_scroll_area(content))
        self.show_row(None, "", None)

    def show_row(self, story: RowStory | None, place: str, read: RowRead | None) -> None:
        """Shows a row, its place in words and its text where it was read; None shows nothing."""
        if story is not None:
            self._place.setText(allow_breaks(read.place if read and read.place else place))
            self._story.setText(describe_story(story))
            self._course.show_values(story.losses, "Loss each time it was seen")
        prompt = "" if read is None else read.prompt
        answer = "The row is being read …" if read is None else read.message or read.answer
        self._prompt.show_text(prompt)
        self._answer.show_text(answer, "muted" if read is None or read.message else "text")
        for widget in (self._place, self._story, self._answer):
            widget.setVisible(story is not None)
        self._course.setVisible(story is not None and len(story.losses) > 1)
        self._changed.setVisible(read is not None and read.is_changed)
        for widget in (self._prompt, self._prompt_name):
            widget.setVisible(story is not None and bool(prompt))
        self._answer_name.setVisible(story is not None and bool(prompt))
