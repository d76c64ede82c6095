"""Which module reads which file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from types import ModuleType

from studio.core.errors import DatasetInvalid, FileUnusable
from studio.engine.data import sources
from studio.engine.data.sources.encoding import check_file
from studio.engine.data.sources.folder import list_files
from studio.engine.data.sources.packed import PACKED_SUFFIXES, find_archive, inner_name
from studio.engine.data.sources.row import NO_ROWS, Reading, Row


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


def find_kind(path: Path) -> str | None:
    """Return the kind of a file by its name; that of what is inside where it is compressed."""
    suffix = Path(inner_name(path)).suffix.lower()
    return next((key for key, one in source_kinds().items() if suffix in one.suffixes), None)


def find_files(path: Path, split: str = "train") -> list[Path]:
    """Return the files that a source consists of, in the order in which they are read.

    Raises:
        FileUnusable: There is nothing at this path, or no such part.
        DatasetInvalid: Nothing in it can be read.
    """
    if not path.exists() and find_archive(path) is None:
        check_file(path)
    return list_files(path, split, find_kind)


def iter_rows(
    path: Path,
    limit: int | None = None,
    *,
    split: str = "train",
    reading: Reading | None = None,
) -> Iterator[Row]:
    """Return the rows of a data file, of a folder or of an archive, at most ``limit``.

    Raises:
        FileUnusable: The file is missing or may not be read.
        DatasetInvalid: The kind is unknown or a row is broken; the row is named.
    """
    files = find_files(path, split)
    kinds = [_get_kind(one) for one in files]
    return islice(_iter_files(files, kinds, reading or Reading()), limit)


def _iter_files(files: list[Path], kinds: list[ModuleType], reading: Reading) -> Iterator[Row]:
    empty: DatasetInvalid | None = None
    has_rows = False
    for path, kind in zip(files, kinds, strict=True):
        try:
            for row in kind.iter_rows(path, reading):
                has_rows = True
                yield row
        except DatasetInvalid as error:
            if error.code != NO_ROWS:
                raise
            empty = error
    if empty is not None and not has_rows:
        raise empty


def _get_kind(path: Path) -> ModuleType:
    kind = find_kind(path)
    if kind is not None:
        return source_kinds()[kind]
    if path.suffix.lower() in PACKED_SUFFIXES:
        raise FileUnusable(
            f"The name of {path.name} does not say what is packed in it.",
            f"Name it after its content, for example {path.stem}.jsonl{path.suffix}.",
        )
    raise DatasetInvalid(
        f"{path.name} is of a kind that cannot be read as training data.",
        f"Use a file that ends with {', '.join(known_suffixes())}, packed or not "
        f"({', '.join(PACKED_SUFFIXES)}, .zip), or a folder of such files.",
    )
