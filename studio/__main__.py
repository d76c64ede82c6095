"""Picks the face of the program: window, worker of a run, or command line."""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> int:
    """Returns the exit code of the face that the arguments ask for."""
    arguments = sys.argv[1:]
    if not arguments:
        return open_window()
    # Imported one at a time: a worker must not load the window, nor the window the engine.
    if arguments[0] == "worker":
        return int(import_module("studio.worker").main(arguments[1:]))
    return int(import_module("studio.cli.main").main(arguments))


def open_window() -> int:
    """Returns the exit code of the window after it was closed."""
    return int(import_module("studio.gui.app").main())


if __name__ == "__main__":
    sys.exit(main())
