"""Which module reads which file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from types import ModuleType

from studio.core.errors import DatasetInvalid, FileUnusable, NotAvailableYet
from studio.engine.data import sources
from studio.engine.data.sources.row import Row

_LATER = (".parquet", ".arrow", ".txt", ".md", ".gz", ".zst", ".zip")


@cache
def source_kinds() -> dict[str, ModuleType]:
    """Return the modules that read files, by the name of the kind."""
    found = {}
    for entry in pkgutil.iter_modules(sources.__path__):
        module = importlib.import_module(f"{sources.__name__}.{entry.name}")
        if hasattr(module, "suffixes") and hasattr(module, "iter_rows"):
            found[entry.name] = module
    return found


def known_suffixes() -> list[str]:
    """Return the endings of file names that can be read, such as ``.jsonl``."""
    return sorted(suffix for module in source_kinds().values() for suffix in module.suffixes)


def iter_rows(path: Path, limit: int | None = None) -> Iterator[Row]:
    """Yield the rows of a data file, at most ``limit``.

    Raises:
        FileUnusable: The file is missing or may not be read.
        NotAvailableYet: This kind of file comes in a later version.
        DatasetInvalid: The kind is unknown or a row is broken; the row is named.
    """
    suffix = path.suffix.lower()
    for module in source_kinds().values():
        if suffix in module.suffixes:
            rows: Iterator[Row] = module.iter_rows(path)
            return islice(rows, limit)
    if not path.exists():
        raise FileUnusable(
            f"The data file {path} does not exist.",
            "Check the path; relative paths start at the folder of the recipe.",
        )
    if suffix in _LATER or path.is_dir():
        what = "Folders" if path.is_dir() else f"Files ending with {suffix}"
        raise NotAvailableYet(
            f"{what} are not available yet as training data ({path}).",
            f"Use a file that ends with {', '.join(known_suffixes())}.",
        )
    raise DatasetInvalid(
        f"{path.name} is of a kind that cannot be read as training data.",
        f"Use a file that ends with {', '.join(known_suffixes())}.",
    )
