"""Whatever is handed to the program is told for what it is, or why nothing can be done with it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from studio.core.arrivals import (
    DATA_SUFFIXES,
    PACKED_SUFFIXES,
    Arrival,
    describe_arrivals,
    find_arrival,
    find_arrivals,
)
from studio.core.runs.capsule import INDEX_NAME
from studio.engine.data.sources import packed, registry


def touch(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def pack(path: Path, name: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "{}")
    return path


def test_the_endings_are_those_that_the_engine_reads() -> None:
    assert sorted(DATA_SUFFIXES) == registry.known_suffixes()
    assert packed.PACKED_SUFFIXES == PACKED_SUFFIXES


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.CSV", "a.parquet", "a.txt", "a.json.gz", "a.md.zst"]
)
def test_tables_and_texts_are_training_data(tmp_path: Path, name: str) -> None:
    assert find_arrival(touch(tmp_path / name)).kind == "data"


def test_folders_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    touch(tmp_path / "texts" / "deep" / "one.txt")
    touch(tmp_path / "saved" / "state.json")
    touch(tmp_path / "saved" / "data.arrow")
    touch(tmp_path / "pirate" / "adapter_config.json")
    touch(tmp_path / "run" / "adapter" / "adapter_config.json")
    kinds = {name: find_arrival(tmp_path / name) for name in ("texts", "saved", "pirate", "run")}
    assert [one.kind for one in kinds.values()] == ["data", "data", "adapter", "adapter"]
    assert kinds["run"].path == tmp_path / "run" / "adapter"
    (tmp_path / "empty").mkdir()
    touch(tmp_path / "pictures" / "cat.png")
    for name in ("empty", "pictures"):
        strange = find_arrival(tmp_path / name)
        assert strange.kind == "unknown"
        assert "safetensors" in strange.remedy


def test_a_model_is_its_folder_and_an_unusable_one_says_why(tmp_path: Path, material: Path) -> None:
    folder = material / "models" / "stories260K-hf"
    assert find_arrival(folder) == Arrival(folder, "model")
    assert find_arrival(folder / "model.safetensors") == Arrival(folder, "model")
    assert find_arrival(folder / "config.json").path == folder
    touch(tmp_path / "old" / "config.json", json.dumps({"model_type": "llama"}))
    touch(tmp_path / "old" / "pytorch_model.bin")
    strange = find_arrival(tmp_path / "old")
    assert (strange.kind, "pickle" in strange.message) == ("unknown", True)


def test_archives_are_capsules_or_data(tmp_path: Path) -> None:
    assert find_arrival(pack(tmp_path / "a.zip", INDEX_NAME)).kind == "adapter"
    assert find_arrival(pack(tmp_path / "b.zip", "rows/train.jsonl")).kind == "data"
    assert find_arrival(pack(tmp_path / "c.zip", "cat.png")).kind == "unknown"
    assert "damaged" in find_arrival(touch(tmp_path / "d.zip")).message


def test_the_words_say_what_will_happen(tmp_path: Path) -> None:
    paths = [touch(tmp_path / name) for name in ("a.jsonl", "b.csv", "c.docx", "d.gguf", "e.yaml")]
    arrivals = find_arrivals([str(path) for path in [*paths, paths[0], tmp_path / "gone"]])
    assert [one.kind for one in arrivals] == [*["data"] * 2, *["unknown"] * 2, "recipe", "unknown"]
    title, words = describe_arrivals(arrivals[:2], has_data=False)
    assert (title, words) == ("Use as training data (2 files)", "a.jsonl, b.csv")
    assert describe_arrivals(arrivals[:1], has_data=True)[0] == "Add to the training data"
    title, words = describe_arrivals(arrivals[2:4], has_data=False)
    assert title == "This cannot be opened here"
    assert words.startswith("c.docx is of a kind")
    assert "transformers" in arrivals[3].remedy
    assert "nothing at" in arrivals[5].message
    assert describe_arrivals(arrivals[4:5], has_data=False)[0] == "Open as recipe"
