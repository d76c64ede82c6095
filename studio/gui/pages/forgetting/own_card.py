"""The user's own prompts that must still work, one per line."""

from __future__ import annotations

from PySide6.QtWidgets import QPlainTextEdit, QWidget

from studio.core.forgetting.probes import Probe, format_lines
from studio.gui.widgets.card import Card

_LINES = 5


class OwnCard(Card):
    """A text field; what it holds is kept when a check starts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "2. What must still work",
            "The built-in prompts (arithmetic, instructions, JSON, spelling, the starter's "
            "village) are always asked. Add your own, one per line.",
            parent,
        )
        self._edit = QPlainTextEdit()
        self._edit.setAccessibleName("Your own prompts, one per line")
        self._edit.setPlaceholderText(
            "Who wrote Faust? => Goethe\nSay hello in French\n\nWhat stands after => must be in "
            "the answer. Without it the answer is compared with the base's."
        )
        self._edit.setTabChangesFocus(True)
        self._edit.setFixedHeight(self._edit.fontMetrics().lineSpacing() * _LINES + 20)
        self.body.addWidget(self._edit)

    @property
    def text(self) -> str:
        """What the field holds."""
        return self._edit.toPlainText()

    def show_probes(self, probes: tuple[Probe, ...]) -> None:
        """Shows the prompts that were kept, unless something was typed already."""
        if not self.text.strip():
            self._edit.setPlainText(format_lines(probes))
