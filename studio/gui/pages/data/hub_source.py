"""The button that adds a data set of the hub."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from studio.core.hub.names import PREFIX
from studio.gui.context import Context
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.hub.dialog import open_hub_dialog


class HubSourceButton(Button):
    """Opens the hub and adds what the user chooses there to the training data of the draft."""

    def __init__(self, context: Context, parent: QWidget | None = None) -> None:
        super().__init__("From the &hub…", "search", parent=parent)
        self._context = context
        self.clicked.connect(
            lambda: open_hub_dialog(context.hub, "dataset", self.window(), self._add)
        )

    def _add(self, name: str, commit: str) -> None:
        draft = self._context.draft
        sources = draft.get_value("data.train")
        source = f"{PREFIX}{name}"
        others = [one for one in sources if one["source"] != source]
        draft.set_value("data.train", [*others, {"source": source, "revision": commit or None}])
