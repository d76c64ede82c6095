"""What behaves otherwise on Windows, where most users are, is only called where that is known."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.contracts.source import SourceFile, load_sources

_PACKAGE = load_sources("studio", "packaging")
_SHIPPED = load_sources("studio")
# Missing there, or (os.kill) ending the process that is only asked after.
_CALLS = re.compile(
    r"^(os\.(kill|killpg|fork|getuid|geteuid|getpgid|setsid|mkfifo|rename|startfile|sysconf|uname"
    r"|statvfs|getloadavg|chown)|signal\.(alarm|pause|setitimer|pthread_kill)|shutil\.move"
    r"|multiprocessing\..*)$"
)
_SIGNALS = re.compile(r"^signal\.SIG(?!INT$|TERM$|BREAK$|_)")
_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "select", "termios", "tty", "multiprocessing"}
# Where the same file knows another way for Windows. May only shrink.
_KNOWN = {"studio/core/locks.py: fcntl", "packaging/bootstrap.py: os.geteuid"}


def _iter_imports(file: SourceFile) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _iter_dangers(file: SourceFile) -> Iterator[str]:
    yield from (name for name in _iter_imports(file) if name.split(".")[0] in _MODULES)
    yield from (name for name, _ in file.iter_calls() if _CALLS.match(name))
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Attribute) and _SIGNALS.match(ast.unparse(node)):
            yield ast.unparse(node)


def test_nothing_is_called_that_windows_lacks() -> None:
    found = {f"{file.path}: {name}" for file in _PACKAGE for name in _iter_dangers(file)}
    assert found == _KNOWN


def test_no_child_opens_a_black_window() -> None:
    starters = {"subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output"}
    for file in _SHIPPED:
        for name, call in file.iter_calls():
            if name in starters:
                given = {keyword.arg for keyword in call.keywords}
                assert "creationflags" in given, f"{file.path}:{call.lineno}"


def test_folders_are_deleted_with_the_patience_that_windows_needs() -> None:
    """``files.remove`` tries again while a virus scanner reads; else a failure must not matter."""
    found = [
        f"{file.path}:{call.lineno}"
        for file in _SHIPPED
        for name, call in file.iter_calls()
        if name == "shutil.rmtree" and "ignore_errors" not in {one.arg for one in call.keywords}
    ]
    assert [place for place in found if not place.startswith("studio/core/files.py:")] == []


def test_no_duration_is_taken_from_a_clock_that_ticks_64_times_a_second() -> None:
    """That is ``time.monotonic`` on Windows before Python 3.13: quick steps would take no time."""
    for file in _SHIPPED:
        for node in ast.walk(file.tree):
            names = []
            if isinstance(node, ast.keyword):
                names = [node.arg]
            elif isinstance(node, ast.Assign):
                names = [ast.unparse(target) for target in node.targets]
            is_coarse = "seconds" in names and "monotonic()" in ast.unparse(node)
            assert not is_coarse, f"{file.path}: {ast.unparse(node)}"
