"""A capsule keeps its promise or is refused in words, and never writes where it must not."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable
from studio.core.runs.capsule import (
    INDEX_NAME,
    CapsuleContent,
    check_capsule,
    read_index,
    unpack_capsule,
    write_capsule,
)

FILES = {
    "recipe.yaml": b"name: talk\n" * 50,
    "events.jsonl": b'{"event":"RunFinished","step":3}\n' * 400,
    "adapter/adapter_config.json": b"{}",
    "adapter/adapter_model.safetensors": bytes(range(256)) * 40,
    "adapter/additional_chat_templates/tools.jinja": b"{{ x }}",
}


def pack(folder: Path) -> Path:
    sources = {}
    for name, content in FILES.items():
        source = folder / "sources" / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(content)
        sources[name] = source
    content = CapsuleContent("talk", 5.0, "org/base", "/data", sources, {"last_loss": 0.5})
    path = folder / "talk.capsule.zip"
    assert sum(write_capsule(path, content)) == content.total_bytes
    return path


def change(path: Path, edit: Callable[[dict[str, bytes]], object]) -> Path:
    """Packs the members of a capsule once more after an edit."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_every_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = pack(tmp_path)
    index = check_capsule(path)
    assert (index.name, index.base, index.base_folder) == ("talk", "org/base", "/data")
    assert index.has_recipe
    assert sum(unpack_capsule(path, tmp_path / "out")) > 0
    for name, content in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == content
    assert json.loads((tmp_path / "out" / "metrics.json").read_bytes()) == {"last_loss": 0.5}


def test_the_same_run_makes_the_same_capsule(tmp_path: Path) -> None:
    first = pack(tmp_path / "a").read_bytes()
    assert pack(tmp_path / "b").read_bytes() == first


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    path = change(pack(tmp_path), lambda files: files.update({"recipe.yaml": b"name: evil\n"}))
    with pytest.raises(FileUnusable, match=r"recipe\.yaml is not what it was"):
        check_capsule(path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "adapter/../../evil.txt",
        "/etc/evil",
        "adapter\\..\\evil.json",
        "C:evil.json",
        "adapter/run.py",
        "adapter/model.bin",
        "owner.json",
        "adapter/.hidden",
        "adapter/deep/er/file.json",
    ],
)
def test_a_name_that_leaves_its_place_or_is_no_part_of_a_run_is_refused(
    name: str, tmp_path: Path
) -> None:
    def plant(files: dict[str, bytes]) -> None:
        index = json.loads(files[INDEX_NAME])
        index["files"][name] = "sha256:0"
        files[INDEX_NAME] = json.dumps(index).encode()
        files[name] = b"x"

    path = change(pack(tmp_path), plant)
    with pytest.raises(FileUnusable, match="belongs to no run"):
        list(unpack_capsule(path, tmp_path / "home" / "out"))
    assert not (tmp_path / "home").exists()
    assert not list(tmp_path.rglob("evil*"))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = change(pack(tmp_path), lambda files: files.update({"events.jsonl": bytes(20_000_000)}))
    with pytest.raises(FileUnusable, match="would grow to"):
        list(unpack_capsule(path, tmp_path / "out"))


def test_a_lie_about_the_size_is_found(tmp_path: Path) -> None:
    path = pack(tmp_path)
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"recipe.yaml"))
    data[place + 24 : place + 28] = struct.pack("<I", 10)  # the size after unpacking
    path.write_bytes(data)
    with pytest.raises(FileUnusable):
        list(unpack_capsule(path, tmp_path / "out"))


@pytest.mark.parametrize(
    "edit",
    [
        lambda files: files.pop(INDEX_NAME),
        lambda files: files.update({INDEX_NAME: b"{broken"}),
        lambda files: files.update({INDEX_NAME: b"[]"}),
        lambda files: files.pop("recipe.yaml"),
        lambda files: files.update({f"adapter/{number}.json": b"" for number in range(300)}),
    ],
)
def test_a_table_of_contents_that_does_not_fit_is_refused(
    edit: Callable[[dict[str, bytes]], object], tmp_path: Path
) -> None:
    with pytest.raises(FileUnusable, match="cannot be imported"):
        read_index(change(pack(tmp_path), edit))


@pytest.mark.parametrize("size", [0, 10, 300, -1, -30])
def test_a_capsule_that_is_cut_off_is_refused(size: int, tmp_path: Path) -> None:
    path = pack(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(FileUnusable, match="cannot be imported"):
        check_capsule(path)


def test_a_newer_capsule_asks_for_an_update(tmp_path: Path) -> None:
    path = change(
        pack(tmp_path),
        lambda files: files.update(
            {INDEX_NAME: json.dumps({**json.loads(files[INDEX_NAME]), "capsule": 2}).encode()}
        ),
    )
    with pytest.raises(FileUnusable, match="newer version"):
        read_index(path)
