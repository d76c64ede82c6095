"""``lora-studio doctor``: checks the machine and names the command that repairs each fault."""

from __future__ import annotations

import argparse

from studio.cli.console import Console
from studio.core.doctor import iter_checks
from studio.core.paths import Home

_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", parents=[shared], help="check this computer")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, home: Home) -> int:
    """Print every check; 1 if one failed."""
    checks = []
    for check in iter_checks(home):
        checks.append(check)
        console.print(f"{_MARKS[check.state]}  {check.name}: {check.found}")
        if check.remedy:
            console.print(f"         -> {check.remedy}")
    console.finish({"checks": [check.as_dict() for check in checks]})
    return 1 if any(check.state == "failed" for check in checks) else 0
