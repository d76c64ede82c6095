"""Finds a capability by the name of its file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from studio.core.errors import NotAvailableYet


def get_capability(package: str, path: Iterable[str], name: str, noun: str) -> ModuleType:
    """Returns the module ``package.name``; ``path`` is the package's search path.

    Raises:
        NotAvailableYet: The package has no such file; the message lists those it has.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(path))
    if name not in known:
        raise NotAvailableYet(
            f"The {noun} {name!r} is not available yet.", f"Choose one of: {', '.join(known)}."
        )
    return importlib.import_module(f"{package}.{name}")
