"""A run in one zip file: recipe, manifest, facts and adapter, each with its hash."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from studio import __version__
from studio.core.errors import FileUnusable
from studio.core.files import check_free_space, get_file_error, open_atomically
from studio.core.runs.layout import RunLayout
from studio.core.units import format_bytes

INDEX_NAME = "capsule.json"
METRICS_NAME = "metrics.json"
FORMAT_VERSION = 1
SUFFIX = ".capsule.zip"

_RUN_NAMES = frozenset({"recipe.yaml", "manifest.json", "events.jsonl", METRICS_NAME})
# Names from outside become paths: only these shapes do, and none of them leaves its folder.
_ADAPTER_NAME = re.compile(
    r"^adapter/(additional_chat_templates/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"
)
_CODE = (".py", ".pyc", ".so", ".dll", ".bin", ".pt", ".pth", ".pkl", ".ckpt")
_BLOCK_BYTES = 4 << 20
_MAX_FILES = 200
_MAX_INDEX_BYTES = 1 << 20
# Journals shrink to a fifteenth; what shrinks far more was made to fill a disk.
_LARGEST_GROWTH, _HARMLESS_BYTES = 100, 8 << 20
_REMEDY = "Ask for the capsule again; nothing was imported."


class CapsuleIndex(BaseModel):
    """What a capsule says about itself; ``files`` are hashes by name within the zip.

    ``base`` is the name of the base model, ``base_folder`` where relative paths of the recipe
    started.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    capsule: int
    program: str = ""
    name: str
    created_seconds: float = 0.0
    base: str | None = None
    base_folder: str | None = None
    files: Mapping[str, str]

    @property
    def has_recipe(self) -> bool:
        """Whether the run can be repeated; False for an adapter that came without its run."""
        return "recipe.yaml" in self.files


@dataclass(frozen=True)
class CapsuleContent:
    """What goes into a capsule: files by their name within it, and what is known of the run."""

    name: str
    created_seconds: float
    base: str | None
    base_folder: str | None
    files: Mapping[str, Path]
    metrics: Mapping[str, Any]

    @property
    def total_bytes(self) -> int:
        """The size of the files."""
        return sum(path.stat().st_size for path in self.files.values())


def find_run_files(layout: RunLayout) -> dict[str, Path]:
    """Returns recipe, manifest and journal of a run by their names in a capsule, if there."""
    files = {path.name: path for path in (layout.recipe, layout.manifest, layout.events)}
    return {name: path for name, path in files.items() if path.is_file()}


def write_capsule(path: Path, content: CapsuleContent) -> Generator[int, None, CapsuleIndex]:
    """Writes the capsule to ``path``, entirely or not at all; returns its index.

    Yields:
        How many bytes of the files were added.

    Raises:
        DiskFull: No space is left.
        FileUnusable: A file cannot be read, or ``path`` cannot be written.
    """
    hashes: dict[str, str] = {}
    with open_atomically(path) as stream, zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
        for name, source in content.files.items():
            hashes[name] = yield from _add_file(archive, name, source)
        text = json.dumps(content.metrics, indent=2).encode()
        archive.writestr(_describe(METRICS_NAME), text)
        hashes[METRICS_NAME] = f"sha256:{hashlib.sha256(text).hexdigest()}"
        index = CapsuleIndex(
            capsule=FORMAT_VERSION,
            program=f"LoRA Studio {__version__}",
            name=content.name,
            created_seconds=content.created_seconds,
            base=content.base,
            base_folder=content.base_folder,
            files=hashes,
        )
        archive.writestr(_describe(INDEX_NAME), index.model_dump_json(indent=2))
    return index


def check_capsule(path: Path) -> CapsuleIndex:
    """Returns the index of the capsule at ``path`` after comparing the hash of every file.

    Raises:
        FileUnusable: It is no capsule, is damaged or was changed, or tries to do harm.
    """
    for _ in _read_files(path, None):
        pass
    return read_index(path)


def read_index(path: Path) -> CapsuleIndex:
    """Returns what the capsule at ``path`` says about itself; its files are not read.

    Raises:
        FileUnusable: It is no capsule, or tries to do harm.
    """
    with _opened(path) as archive:
        return _check_archive(archive, path)


def unpack_capsule(path: Path, folder: Path) -> Iterator[int]:
    """Writes the files of the capsule at ``path`` into ``folder``; yields bytes as they come.

    Every hash is compared; nothing but the files of a run is ever written, and nothing outside.

    Raises:
        FileUnusable: It is no capsule, is damaged or was changed, or tries to do harm.
        DiskFull: The drive of ``folder`` has too little space.
    """
    return _read_files(path, folder)


def _read_files(path: Path, folder: Path | None) -> Iterator[int]:
    """Compares the hash of every file; writes them where a ``folder`` is given."""
    with _opened(path) as archive:
        index = _check_archive(archive, path)
        if folder is not None:
            check_free_space(folder, sum(one.file_size for one in archive.infolist()))
        for name, expected in index.files.items():
            digest = hashlib.sha256()
            with archive.open(name) as source, ExitStack() as open_files:
                target = None
                if folder is not None:
                    place = folder / name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    target = open_files.enter_context(place.open("xb"))
                while block := source.read(_BLOCK_BYTES):
                    digest.update(block)
                    if target is not None:
                        target.write(block)
                    yield len(block)
            if f"sha256:{digest.hexdigest()}" != expected:
                raise _refuse(path, f"{name} is not what it was when it was packed")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens the archive; whatever is wrong with it is told in words."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise _refuse(path, "it is damaged, or no zip file") from error
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise _refuse(path, "it is packed in a way that capsules are not") from error
    except OSError as error:
        raise get_file_error(path, error, "read") from error


def _check_archive(archive: zipfile.ZipFile, path: Path) -> CapsuleIndex:
    """Returns the index after judging names and sizes, before a single file is unpacked."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(members) > _MAX_FILES or len(set(names)) != len(names):
        raise _refuse(path, "it holds too many files, or one twice")
    for member in members:
        _check_member(member, path)
    if sum(member.compress_size for member in members) > path.stat().st_size:
        raise _refuse(path, "its files overlap each other")
    if INDEX_NAME not in names or archive.getinfo(INDEX_NAME).file_size > _MAX_INDEX_BYTES:
        raise _refuse(path, f"it has no table of contents ({INDEX_NAME})")
    try:
        index = CapsuleIndex.model_validate_json(archive.read(INDEX_NAME))
    except ValidationError as error:
        raise _refuse(path, f"its table of contents ({INDEX_NAME}) is not valid") from error
    if index.capsule > FORMAT_VERSION:
        raise FileUnusable(
            f"{path} was written by a newer version of LoRA Studio ({index.program:.80}).",
            "Update the program, then import it again.",
        )
    if set(index.files) != set(names) - {INDEX_NAME}:
        raise _refuse(path, "its table of contents does not name the files that it holds")
    if "adapter/adapter_config.json" not in names:
        raise _refuse(path, "it holds no adapter")
    return index


def _check_member(member: zipfile.ZipInfo, path: Path) -> None:
    name = member.filename
    is_known = name in _RUN_NAMES or name == INDEX_NAME or _ADAPTER_NAME.match(name)
    if not is_known or name.lower().endswith(_CODE):
        raise _refuse(path, f"it holds {name!r:.100}, which belongs to no run")
    if member.flag_bits & 1:
        raise _refuse(path, "it is encrypted")
    is_large = member.file_size > _HARMLESS_BYTES
    if is_large and member.file_size > _LARGEST_GROWTH * max(1, member.compress_size):
        raise _refuse(
            path, f"{name} would grow to {format_bytes(member.file_size)} from almost nothing"
        )


def _add_file(archive: zipfile.ZipFile, name: str, source: Path) -> Generator[int, None, str]:
    """Adds one file; returns its hash."""
    digest = hashlib.sha256()
    try:
        with (
            source.open("rb") as stream,
            archive.open(_describe(name), "w", force_zip64=True) as to,
        ):
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                to.write(block)
                yield len(block)
    except FileNotFoundError as error:
        raise get_file_error(source, error, "read") from error
    return f"sha256:{digest.hexdigest()}"


def _describe(name: str) -> zipfile.ZipInfo:
    """Returns the entry of a file: the same bytes make the same capsule, on every day."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    is_weights = name.endswith(".safetensors")  # these do not get smaller
    entry.compress_type = zipfile.ZIP_STORED if is_weights else zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _refuse(path: Path, why: str) -> FileUnusable:
    return FileUnusable(f"{path} cannot be imported: {why}.", _REMEDY, code="capsule_unusable")
