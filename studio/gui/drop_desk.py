"""Whatever is dropped on the window: it says what will happen, and the right page opens with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from studio.core.arrivals import Arrival, describe_arrivals, find_arrivals
from studio.core.errors import StudioError
from studio.core.recipe.load import load_recipe, make_absolute
from studio.core.recipe.schema import Recipe
from studio.gui.bridge.background import BackgroundCall, Cancellation
from studio.gui.context import Context
from studio.gui.widgets.drop_area import DropCatcher

if TYPE_CHECKING:
    from studio.gui.window import Window

WAITING_WORDS = "Drop it to open it"
_PAGES = (("model", "model"), ("data", "data"), ("adapter", "runs"))


class DropDesk(QObject):
    """Judges what hovers over the window beside the GUI thread, and opens what is dropped."""

    def __init__(self, window: Window, target: QWidget, context: Context) -> None:
        super().__init__(window)
        self._window = window
        self._context = context
        self._paths: list[str] = []
        self._arrivals: tuple[Arrival, ...] | None = None
        self._is_dropped = False
        self._call: BackgroundCall | None = None
        self._catcher = DropCatcher(target, WAITING_WORDS)
        self._catcher.paths_entered.connect(self._on_catcher_paths_entered)
        self._catcher.paths_dropped.connect(self._on_catcher_paths_dropped)

    def _on_catcher_paths_entered(self, paths: list[str]) -> None:
        self._is_dropped = False
        self._judge(paths)

    def _on_catcher_paths_dropped(self, paths: list[str]) -> None:
        self._is_dropped = True
        if paths != self._paths:
            self._judge(paths)
        elif self._arrivals is not None:
            self._open(self._arrivals)

    def _judge(self, paths: list[str]) -> None:
        if self._call is not None:
            self._call.cancel()
        self._paths, self._arrivals = paths, None
        self._call = self._context.background.start(
            partial(_find, tuple(paths)), self._on_arrivals_found, self._tell
        )

    def _on_arrivals_found(self, arrivals: tuple[Arrival, ...]) -> None:
        self._arrivals, self._call = arrivals, None
        if self._is_dropped:
            self._open(arrivals)
            return
        has_data = bool(self._context.draft.get_value("data.train"))
        is_usable = any(one.kind != "unknown" for one in arrivals)
        title, words = describe_arrivals(arrivals, has_data=has_data)
        self._catcher.show_words(title, words, is_usable=is_usable)

    def _open(self, arrivals: Sequence[Arrival]) -> None:
        self._paths, self._arrivals, self._is_dropped = [], None, False
        for kind, key in _PAGES:
            paths = [str(one.path) for one in arrivals if one.kind == kind]
            if paths:
                self._window.get_page(key).take_paths(paths)
                self._window.show_page(key)
        for one in arrivals:
            if one.kind == "recipe":
                self._context.background.start(
                    partial(_read_recipe, one.path), self._on_recipe_read, self._tell
                )
        strange = [one for one in arrivals if one.kind == "unknown"]
        if strange:
            rest = f" (and {len(strange) - 1:,} more)" if len(strange) > 1 else ""
            self._tell(StudioError(f"{strange[0].message}{rest}", strange[0].remedy))

    def _on_recipe_read(self, recipe: Recipe) -> None:
        self._context.draft.load(recipe)
        self._window.show_page("recipe")

    def _tell(self, error: StudioError) -> None:
        box = QMessageBox(self._window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setIcon(QMessageBox.Icon.Information)
        box.setWindowTitle("Not opened")
        box.setText(error.message)
        box.setInformativeText(error.remedy)
        box.open()


def _find(paths: Sequence[str], cancellation: Cancellation) -> tuple[Arrival, ...]:
    return find_arrivals(paths, lambda: cancellation.is_set)


def _read_recipe(path: Path, _cancellation: Cancellation) -> Recipe:
    return make_absolute(load_recipe(path), path.parent)
