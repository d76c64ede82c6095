"""The composition root of the window: builds every collaborator once and starts the event loop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from logging.handlers import RotatingFileHandler
from pathlib import Path

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

from studio.core.errors import StudioError
from studio.core.kept_values import KeptValues
from studio.core.network.gate import OFFLINE_SETTING, OFFLINE_VARIABLE, find_gate
from studio.core.paths import Home, default_home
from studio.core.runs.store import RunStore
from studio.core.starter import StarterKit, load_starter
from studio.gui.bridge.background import Background
from studio.gui.bridge.hub_shelf import HubShelf
from studio.gui.bridge.model_shelf import ModelShelf
from studio.gui.bridge.preferences import Preferences
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.closing import CloseQuestion
from studio.gui.context import Context
from studio.gui.crash import CrashNet, connect_dialog
from studio.gui.forms.draft import Draft
from studio.gui.journey import Journey
from studio.gui.routes import ROUTES
from studio.gui.theme.theme import Theme
from studio.gui.window import Window

_EARLY = ("studio.gui.plots.run_plots", "studio.gui.pages.train.page")
_EARLY_MS = 300
SCALES = (100, 125, 150, 175, 200)
_LOG_BYTES = 1_000_000


@dataclass(frozen=True)
class Studio:
    """A window with everything behind it."""

    window: Window
    context: Context
    net: CrashNet

    def close(self) -> None:
        """Saves what is open and ends what runs in this process; jobs go on by themselves."""
        self.context.draft.close()
        self.context.feed.close()
        self.context.hub.close()
        self.context.background.close()
        self.net.remove()


def build_studio(app: QApplication, home: Home) -> Studio:
    """Return the window with all its collaborators; nothing is shown yet."""
    preferences = Preferences(home.preferences)
    if preferences.trouble is not None:  # nobody knows what was switched on
        preferences.keep(OFFLINE_SETTING, True)
    theme = Theme(app)
    theme.choose(preferences.get_text("theme", "system"))
    background = Background()
    feed = RunFeed(RunStore(home), background)
    gate = find_gate(home)
    context = Context(
        home=home,
        gate=gate,
        preferences=preferences,
        theme=theme,
        background=background,
        feed=feed,
        draft=Draft(home.settings / "draft.json"),
        journey=Journey(),
        shelf=ModelShelf(background),
        hub=HubShelf(gate, feed),
        starter=find_starter(),
    )
    geometry = QSettings(str(home.settings / "geometry.ini"), QSettings.Format.IniFormat)
    window = Window(context, ROUTES, geometry, CloseQuestion(feed))
    net = CrashNet()
    connect_dialog(net, lambda: window, str(get_log_path(home)))
    return Studio(window, context, net)


def main(argv: Sequence[str] | None = None) -> int:
    """Open the window and return the exit code when it is closed."""
    arguments = _parse(list(sys.argv[1:] if argv is None else argv))
    home = Home(Path(arguments.home).expanduser().absolute()) if arguments.home else default_home()
    if arguments.offline:
        os.environ[OFFLINE_VARIABLE] = "1"  # children inherit it
    _start_log(get_log_path(home))
    _set_scale(KeptValues(home.preferences, "Your settings").load().get("scale_percent"))
    app = QApplication([sys.argv[0]])
    app.setApplicationName("lora-studio")
    app.setApplicationDisplayName("LoRA Studio")
    app.setDesktopFileName("lora-studio")
    studio = build_studio(app, home)
    studio.net.install()
    pulse = _let_interrupts_through(studio.window)
    studio.window.show_page(arguments.page)
    studio.window.show()
    studio.context.feed.attach_all()
    early = QTimer(singleShot=True, interval=_EARLY_MS)
    early.timeout.connect(lambda: load_early(studio.context.background))
    early.start()
    code = app.exec()
    early.stop()
    pulse.stop()
    studio.close()
    return code


def load_early(background: Background) -> None:
    """Loads the slowest code of later pages beside the GUI thread, once the window stands.

    Measured: the Train page used to hold the window up for a quarter of a second when it was
    first opened; a thread that imports holds it up for one frame at most.
    """

    def load(_: object) -> None:
        for name in _EARLY:
            import_module(name)

    background.start(load, lambda _: None)


def find_starter() -> StarterKit | None:
    """Return the starter kit, or None where the installation lacks it."""
    try:
        return load_starter()
    except StudioError as error:
        logging.getLogger(__name__).warning("no starter kit: %s", error)
        return None


def get_log_path(home: Home) -> Path:
    """Return where the window of a home writes its log."""
    return home.folder / "log" / "window.log"


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lora-studio", description="Open the window.")
    parser.add_argument("--home", help="folder for runs, settings and caches")
    parser.add_argument("--offline", action="store_true", help="never use the network")
    keys = [route.entry.key for route in ROUTES]
    parser.add_argument("--page", default="home", choices=keys, help="page to open first")
    return parser.parse_args(argv)


def _start_log(path: Path) -> None:
    """Log warnings to a small file; where that is impossible, the window works without."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
        log.setLevel(logging.WARNING)
        log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(log)


def _set_scale(percent: object) -> None:
    """Enlarge the window beyond the system's scale; Qt reads this before it starts."""
    if percent in SCALES and percent != SCALES[0] and "QT_SCALE_FACTOR" not in os.environ:
        os.environ["QT_SCALE_FACTOR"] = str(float(str(percent)) / 100)


def _let_interrupts_through(window: Window) -> QTimer:
    """Close the window on Ctrl+C; Python only sees signals while Python code runs."""
    signal.signal(signal.SIGINT, lambda *_: window.close())
    pulse = QTimer()
    pulse.timeout.connect(lambda: None)
    pulse.start(400)
    return pulse


if __name__ == "__main__":
    sys.exit(main())
