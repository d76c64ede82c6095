"""Where columns come from: runs of the history, their checkpoints, any folder on the disk."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QWidget

from studio.core.arrivals import is_data_name
from studio.gui.bridge.adapter_shelf import AdapterShelf
from studio.gui.pages.compare.chooser import Chooser
from studio.gui.pages.compare.line_up import LineUp
from studio.gui.parts.base_asker import BaseNotice
from studio.gui.widgets.drop_area import DropCatcher


def connect_sources(
    shelf: AdapterShelf, chooser: Chooser, line_up: LineUp, notice: BaseNotice, target: QWidget
) -> None:
    """Lets what is picked with a chooser, or dropped on a target, join the line-up.

    ``notice`` asks for the base of imported adapters where it is not here.
    """
    line_up.base_wanted.connect(notice.offer)
    line_up.changed.connect(notice.clear)
    notice.kept.connect(shelf.refresh)
    shelf.picked.connect(line_up.add)
    shelf.offered.connect(lambda: chooser.add.show_choices(shelf.groups))
    chooser.add.adapter_chosen.connect(line_up.add)
    chooser.add.folder_chosen.connect(shelf.pick_folder)
    chooser.base.base_chosen.connect(line_up.choose_base)

    def pick_all(paths: list[str]) -> None:
        for path in paths:
            shelf.pick_folder(Path(path))

    catcher = DropCatcher(target, "Add to the comparison", _may_hold_adapters)
    catcher.paths_dropped.connect(pick_all)


def _may_hold_adapters(paths: list[str]) -> bool:
    """Return whether no path is named like training data or a recipe; the window opens those."""
    files = (".yaml", ".yml", ".zip")
    return not any(is_data_name(path) or path.lower().endswith(files) for path in paths)
