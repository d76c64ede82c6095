"""The whole way through the window, by clicks and keys, with real child processes.

Run by ``test_window.py`` on a virtual screen; with ``resources/screenshots`` as the folder it makes
the pictures of the README: ``python -m tests.e2e.journey --pictures resources/screenshots``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from PySide6.QtWidgets import QApplication

from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.gui.widgets.flow_text import FlowText
from tests.e2e.visitor import Visitor

QUESTION = "What does Mira do?"


def main() -> None:
    """Walk through the window; the last line of output is what was found, as a JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--theme", default="light", choices=["light", "dark"])
    arguments = parser.parse_args()
    app = QApplication(["journey"])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        home = arguments.home or Path(temporary)
        visitor = Visitor(app, home, arguments.pictures, arguments.theme)
        found = walk(visitor, RunStore(visitor.studio.context.home))
        visitor.leave()
    sys.stdout.write(json.dumps(found) + "\n")


def walk(visitor: Visitor, store: RunStore) -> dict[str, object]:
    """Home, starter, train, compare, export, then the pages of one's own model and data."""
    visitor.look("home")
    visitor.click("Try the starter")
    visitor.wait(lambda: visitor.window.page_key == "train", "the Train page")
    visitor.wait(lambda: _newest(store).step >= 130, "most of the steps", 120)
    visitor.look("train")
    visitor.wait(lambda: _newest(store).status == "finished", "the end of the run", 180)
    visitor.see("Compare answers", 30)
    visitor.look("train-finished")

    visitor.click("Compare answers")
    visitor.wait(lambda: visitor.window.page_key == "compare", "the Compare page")
    visitor.see("Send", 90, is_enabled=False)
    visitor.type_into("Prompt", QUESTION)
    visitor.wait(lambda: len(_answers(visitor)) == 2, "two answers", 90)
    visitor.see("Send", 60)
    answers = _answers(visitor)
    visitor.look("compare")

    visitor.press("Ctrl+7")
    visitor.click("Export")
    visitor.see("Code that loads the export", 90)
    visitor.look("export")

    visitor.press("Ctrl+2")
    visitor.click_row("Models on this machine", "Starter")
    visitor.see("Layers of the model")
    visitor.rest(1.0)
    visitor.look("model")
    visitor.press("Ctrl+3")
    visitor.see("First rows of the file")
    visitor.look("data-rows")
    visitor.click_tab("X-ray")
    visitor.see("The row token by token", 60)
    visitor.rest(1.0)
    visitor.look("data")
    for key, name in (("Ctrl+4", "recipe"), ("Ctrl+9", "settings")):
        visitor.press(key)
        visitor.rest(1.5)
        visitor.look(name)
    visitor.press("Ctrl+8")
    visitor.click_row("Runs", "Talk like a pirate")
    visitor.rest(1.5)
    visitor.look("runs")
    record = _newest(store)
    return {
        "status": record.status,
        "first_loss": record.first_loss,
        "last_loss": record.last_loss,
        "answers": answers,
        "pages": sorted(path.stem for path in visitor._pictures.glob("*.png")),
    }


def _newest(store: RunStore) -> RunRecord:
    records = store.list()
    return records[0] if records else RunRecord()


def _answers(visitor: Visitor) -> dict[str, str]:
    """Return the answers on the screen by column; one that has begun can be copied."""
    found = {}
    for text in visitor.window.findChildren(FlowText):
        column = text.accessibleName().removeprefix("Answer of ")
        if text.isVisible() and column != text.accessibleName():
            copy = visitor.find(f"Copy the answer of {column}")
            if copy is not None and copy.isEnabled():
                found[column] = text.text
    return found


if __name__ == "__main__":
    main()
