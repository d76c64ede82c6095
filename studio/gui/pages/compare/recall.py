"""What is done with an earlier exchange: it is shown again, or its prompt is used again."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.compare.exchanges import KeptExchange
from studio.gui.bridge.adapter_shelf import AdapterShelf
from studio.gui.pages.compare.chat_view import ChatView
from studio.gui.pages.compare.line_up import LineUp
from studio.gui.pages.compare.side import Side
from studio.gui.pages.compare.stage import Stage


class Recall(QObject):
    """Serves the history.

    Signals:
        shown: The answers are to be brought into view, whatever was there.
    """

    shown = Signal()

    def __init__(
        self, side: Side, stage: Stage, chat: ChatView, line_up: LineUp, shelf: AdapterShelf
    ) -> None:
        super().__init__(stage)
        self._stage, self._prompt = stage, chat.prompt
        self._line_up, self._shelf = line_up, shelf
        side.show_requested.connect(self._show)
        side.reuse_requested.connect(self._reuse)

    def _show(self, kept: KeptExchange) -> None:
        self.shown.emit()  # nothing is loaded for that
        self._stage.show_kept(kept)

    def _reuse(self, kept: KeptExchange) -> None:
        """Puts the prompt into the field, before those who answered it if nobody is there now."""
        if not self._line_up.base:
            self._line_up.choose_base(kept.base)
            for answer in kept.answers:
                self._bring(answer.adapter)
        self._prompt.show_text(kept.prompt)

    def _bring(self, folder: str) -> None:
        choices = [one for group in self._shelf.groups for one in (group.final, *group.checkpoints)]
        known = [one for one in choices if str(one.folder) == folder]
        if known:
            self._line_up.add(known[0])
        elif folder:
            self._shelf.pick_folder(Path(folder))
