"""A model of the hub is known from the beginnings of its files; its weights never travel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.errors import ModelUnusable, NetworkFailed, Offline
from studio.core.hub.layers import HubLayers
from studio.core.network.gate import Gate
from studio.core.starter import load_starter
from studio.core.weights.header import TensorEntry
from studio.core.weights.layers import load_layers
from studio.core.weights.remote import load_remote_layers
from studio.core.weights.shapes import build_tensors
from tests.core.hub.fake_hub import FakeHub
from tests.core.memory.published import PUBLISHED

SMALL = PUBLISHED["SmolLM2-135M"]


def write_header(tensors: list[TensorEntry]) -> bytes:
    """The beginning of a safetensors file that holds these tensors, without the weights."""
    content, position = {}, 0
    for tensor in tensors:
        end = position + 2 * tensor.parameters
        content[tensor.name] = {
            "dtype": "BF16",
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text


def build_shards(count: int) -> tuple[dict[str, bytes], dict[str, int]]:
    """The readable part of a model in ``count`` files, and the sizes of the whole files."""
    tensors = [t for t in build_tensors(SMALL[0]) if t.name != "lm_head.weight"]
    files, sizes, index = {"config.json": json.dumps(SMALL[0]).encode()}, {}, {}
    for number in range(count):
        part = tensors[number::count]
        name = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        files[name] = write_header(part)
        sizes[name] = len(files[name]) + sum(2 * t.parameters for t in part)
        index |= {t.name: name for t in part}
    files["model.safetensors.index.json"] = json.dumps({"weight_map": index}).encode()
    return files, {name: len(text) for name, text in files.items()} | sizes


@pytest.mark.parametrize("count", [1, 3])
def test_a_model_in_parts_is_counted_to_the_unit(count: int) -> None:
    files, sizes = build_shards(count)
    layers, config = load_remote_layers(
        "acme/small", sizes, lambda name, start, size: files[name][start : start + size]
    )
    assert layers.parameters == SMALL[1]
    assert config["model_type"] == "llama"


def test_a_long_table_of_contents_takes_a_second_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.core.weights.remote._FIRST_BYTES", 1000)
    files, sizes = build_shards(2)
    asked: list[tuple[str, int]] = []

    def read(name: str, start: int, size: int) -> bytes:
        asked.append((name, start))
        return files[name][start : start + size]

    layers, _ = load_remote_layers("acme/small", sizes, read)
    assert layers.parameters == SMALL[1]
    shard = "model-00001-of-00002.safetensors"
    assert [start for name, start in asked if name == shard] == [0, 1000]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config.json": b"["}, "config.json of"),
        ({"model-00002-of-00002.safetensors": b"\xff" * 64}, "does not start as a safetensors"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "../x.safetensors"}}'}, "names"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "gone.safetensors"}}'}, "no file"),
    ],
)
def test_broken_files_are_named(change: dict[str, bytes], words: str) -> None:
    files, sizes = build_shards(2)
    files |= change
    with pytest.raises(ModelUnusable, match=words):
        load_remote_layers("acme/small", sizes, lambda name, start, _: files[name][start:])


def test_the_hub_is_asked_for_beginnings_once(hub: FakeHub) -> None:
    folder = load_starter().model_folder
    hub.add_folder("acme/base", folder)
    known = HubLayers(Gate())
    layers, _ = known.load("acme/base")
    here = load_layers(folder)
    assert (layers.parameters, layers.layer_count) == (here.parameters, here.layer_count)
    assert [m.name for m in layers.modules] == [m.name for m in here.modules]
    assert hub.ranges("model.safetensors") == ["bytes=0-131071"]
    asked = len(hub.log)
    assert known.load("acme/base")[0] is layers
    assert len(hub.log) == asked


def test_refusals_are_told_in_words(hub: FakeHub) -> None:
    known = HubLayers(Gate())
    with pytest.raises(NetworkFailed):
        known.load("acme/nothing")
    hub.add_folder("acme/closed", load_starter().model_folder)
    hub.gated.add("acme/closed")
    with pytest.raises(NetworkFailed, match="accept"):
        known.load("acme/closed")
    with pytest.raises(ModelUnusable, match="no model"):
        known.load(str(Path("/a/b/c")))


def test_offline_nothing_is_asked(hub: FakeHub) -> None:
    known = HubLayers(Gate("option"))
    assert not known.can_ask("acme/base")
    with pytest.raises(Offline):
        known.load("acme/base")
    assert hub.log == []
