"""The command line's entry: reads the arguments, runs one command, returns its exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from studio import __version__
from studio.cli import (
    blend,
    check_export,
    demo,
    doctor,
    download,
    evaluate,
    export,
    forgetting,
    generate,
    grow,
    hand_over,
    inside,
    layers,
    plan,
    preview,
    prune,
    push,
    rows,
    runs,
    train,
)
from studio.cli.console import Console
from studio.core.errors import RecipeInvalid, StudioError
from studio.core.network.gate import OFFLINE_VARIABLE
from studio.core.paths import Home, default_home

COMMANDS = (
    demo,
    train,
    runs,
    rows,
    layers,
    plan,
    preview,
    generate,
    inside,
    evaluate,
    blend,
    prune,
    grow,
    export,
    check_export,
    forgetting,
    push,
    hand_over,
    doctor,
    download,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--json", action="store_true", help="write one JSON object on the last line of output"
    )
    shared.add_argument(
        "--home",
        type=Path,
        metavar="DIR",
        help="folder for runs, settings and caches (default: the system's folder for such data)",
    )
    shared.add_argument(
        "--offline", action="store_true", help="never use the network, whatever the settings say"
    )
    parser = argparse.ArgumentParser(
        prog="lora-studio",
        description="Fine-tune transformer models with LoRA. Without a command, opens the window.",
    )
    parser.add_argument("--version", action="version", version=f"lora-studio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands, shared)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 (done), 1 (failed) or 2 (bad arguments or recipe)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    if getattr(parsed, "offline", False):
        os.environ[OFFLINE_VARIABLE] = "1"  # children inherit it
    console = Console(is_json=parsed.json)
    home = Home(parsed.home.expanduser().resolve()) if parsed.home else default_home()
    try:
        code: int = parsed.run(parsed, console, home)
    except RecipeInvalid as error:
        console.fail(error)
        return 2
    except StudioError as error:
        console.fail(error)
        return 1
    except KeyboardInterrupt:
        console.say("Stopped.")
        return 1
    return code
