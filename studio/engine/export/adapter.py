"""The adapter alone, in PEFT's format, as other tools load it beside the base."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from studio.core.events.types import ExportProgressed
from studio.core.files import (
    get_file_error,
    write_atomically,
    write_json_atomically,
)
from studio.core.runs.leftovers import replace_marked_folder
from studio.core.weights.adapter_file import WEIGHTS_NAME
from studio.engine.export.experts import ConvertedAdapter
from studio.engine.export.target import check_target, copy_companions, find_companions
from studio.engine.lora.peft_config import CONFIG_NAME
from studio.engine.lora.stored import read_adapter


def export_adapter(
    adapter: Path, target: Path, converted: ConvertedAdapter | None = None
) -> Generator[ExportProgressed, None, tuple[str, ...]]:
    """Copies the adapter in ``adapter`` to ``target`` and returns the names of the files.

    ``converted`` is the same adapter in another layout, whose files are written instead of its own.
    Everything is checked before the first byte is written. Closing the generator early leaves
    nothing behind.

    Yields:
        ExportProgressed after each file.

    Raises:
        AdapterUnusable: It is broken or asks for something that is not supported.
        FileUnusable: ``target`` is taken or cannot be written to, or the disk is full.
    """
    read_adapter(adapter)
    # Beside the two files of PEFT the tokenizer and the chat template, where they were saved.
    files = [adapter / WEIGHTS_NAME, *find_companions(adapter)]
    try:
        sizes = [path.stat().st_size for path in files]
    except OSError as error:
        raise get_file_error(adapter, error, "read") from error
    total_bytes, done_bytes = sum(sizes), 0
    check_target(target, total_bytes)
    with replace_marked_folder(target) as folder:
        for path, size in zip(files, sizes, strict=True):
            if converted is None or path.name not in (WEIGHTS_NAME, CONFIG_NAME):
                copy_companions(adapter, [path], folder)
            elif path.name == CONFIG_NAME:
                write_json_atomically(folder / CONFIG_NAME, converted.build_config())
            else:
                write_atomically(folder / WEIGHTS_NAME, converted.serialise())
            done_bytes += size
            yield ExportProgressed(done_bytes=done_bytes, total_bytes=total_bytes)
    return tuple(sorted(path.relative_to(adapter).as_posix() for path in files))
