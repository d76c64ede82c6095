"""The project's own Python files, as the contract tests look at them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SourceFile:
    """One Python file: its path from the project's folder, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    def iter_functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Yield every function and method."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def iter_classes(self) -> Iterator[ast.ClassDef]:
        """Yield every class."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                yield node

    def iter_calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Yield every call with the dotted name that is called."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


@cache
def load_sources(*folders: str) -> tuple[SourceFile, ...]:
    """Return the Python files below these folders of the project, in a fixed order."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    files = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        files.append(SourceFile(path.relative_to(ROOT).as_posix(), text, ast.parse(text)))
    return tuple(files)
