"""Models stored in few bits show the layers, parameters and shapes of the original model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from studio.core.errors import ModelUnusable
from studio.core.memory.anatomy import read_anatomy
from studio.core.memory.model import read_model_folder
from studio.core.memory.weights import count_base_bytes, count_buffer_bytes
from studio.core.recipe.check import check_recipe
from studio.core.recipe.load import parse_recipe
from studio.core.weights.folder import check_model_folder
from studio.core.weights.header import read_headers
from studio.core.weights.layers import build_layers, load_layers
from studio.core.weights.local import describe_model
from studio.core.weights.remote import load_remote_layers
from studio.core.weights.shapes import build_tensors
from studio.core.weights.stored import get_stored_kind
from tests.engine.quant.stored_base import NF4, store_base
from tests.engine.tiny_run import build_base

WIDE = {"hidden_size": 64, "intermediate_size": 128}


def _build(folder: Path, family: str = "llama") -> Path:
    return build_base(folder, family, **({"n_embd": 64} if family == "gpt2" else WIDE))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_stored_models_have_the_layers_of_the_original(
    family: str, kind: str, tmp_path: Path
) -> None:
    base = _build(tmp_path / "base", family)
    stored = store_base(tmp_path / "few", base, kind)
    check_model_folder(stored)
    dense, found = load_layers(base), load_layers(stored)
    assert (dense.stored, found.stored) == ("none", kind)
    assert found.parameters == dense.parameters
    assert [(m.name, m.shape, m.form, m.kind, m.parameters) for m in found.modules] == [
        (m.name, m.shape, m.form, m.kind, m.parameters) for m in dense.modules
    ]
    packed = {m.name for m in found.modules if m.is_packed}
    assert packed == {m.name for m in read_model_folder(base).quantisable}
    data = sum(t.size_bytes for header in read_headers(stored) for t in header.tensors)
    assert found.size_bytes == data < dense.size_bytes
    model = describe_model("few", "few", stored, "folder")
    assert model.is_usable
    assert model.stored == kind
    assert model.parameters == dense.parameters


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_the_ledger_counts_stored_weights_as_they_are(kind: str, tmp_path: Path) -> None:
    base = _build(tmp_path / "base")
    dense = read_model_folder(base)
    stored = read_model_folder(store_base(tmp_path / "few", base, kind))
    # tables of levels and notes lie in the file of so small a model: 1 KB beside each matrix
    extra = len(stored.quantisable) * 2_000
    for wish in ("none", kind):
        size = count_base_bytes(stored, wish, 2)
        assert 0 <= size - count_base_bytes(dense, kind, 2) < extra
        assert count_buffer_bytes(stored, wish, 2) == count_buffer_bytes(dense, kind, 2)
    assert count_buffer_bytes(dense, "none", 2) == 0


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_beginnings_of_files_on_the_hub_are_enough_for_known_families(
    kind: str, tmp_path: Path
) -> None:
    folder = store_base(tmp_path / "few", _build(tmp_path / "base"), kind)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}

    def read(name: str, start: int, size: int) -> bytes:
        return (folder / name).read_bytes()[start : start + size]

    layers, _ = load_remote_layers("acme/few", sizes, read)
    assert replace(layers, folder=folder) == load_layers(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "brand_new"}))
    sizes["config.json"] = path.stat().st_size
    if kind == "nf4":  # 8-bit weights keep their shape
        with pytest.raises(ModelUnusable, match="shape"):
            load_remote_layers("acme/few", sizes, read)


def test_the_configuration_alone_tells_what_will_be_in_few_bits(tmp_path: Path) -> None:
    base = _build(tmp_path / "base")
    folder = store_base(tmp_path / "few", base)
    config = json.loads((folder / "config.json").read_text())
    predicted = build_layers(folder, config, build_tensors(config))
    known = load_layers(folder)
    assert predicted.stored == "nf4"
    assert {m.name for m in predicted.modules if m.is_packed} == {
        m.name for m in known.modules if m.is_packed
    }
    anatomy = read_anatomy(predicted, config)
    ours = count_base_bytes(read_model_folder(base), "nf4", 4)
    assert abs(count_base_bytes(anatomy, "none", 4) - ours) < 0.01 * ours


def test_what_is_stored_otherwise_or_damaged_is_refused_in_words(tmp_path: Path) -> None:
    for method, words in (({"quant_method": "awq"}, "awq"), ({"bits": 4}, "unknown")):
        with pytest.raises(ModelUnusable, match=words):
            get_stored_kind({"quantization_config": method})
    assert get_stored_kind({"quantization_config": {"load_in_8bit": True}}) == "int8"
    assert get_stored_kind({"quantization_config": NF4}) == "nf4"
    folder = store_base(tmp_path / "few", _build(tmp_path / "base"))
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    state = f"{name}.quant_state.bitsandbytes__nf4"
    wrong = json.loads(bytes(tensors[state].tolist())) | {"shape": [3, 5]}
    for text in (b"[]", b"not json at all", json.dumps(wrong).encode()):
        changed = tensors | {state: tensors[state].new_tensor(list(text))}
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelUnusable, match=r"up_proj\.weight is not stated"):
            load_layers(folder)
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnusable, match="not its weights"):
        load_layers(folder)


def test_settings_that_stored_weights_rule_out_are_refused_before_the_start(tmp_path: Path) -> None:
    folder = store_base(tmp_path / "few", _build(tmp_path / "base"))
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "a"}\n')

    def check(**changes: dict[str, object]) -> dict[str, str]:
        raw: dict[str, dict[str, object]] = {
            "base": {"model": str(folder)},
            "data": {"train": [{"source": str(data)}]},
        }
        for section, values in changes.items():
            raw[section] = raw.get(section, {}) | values
        problems = check_recipe(parse_recipe(raw), base_folder=tmp_path)
        return {one.path: one.severity for one in problems if "4 bits already" in one.message}

    assert check() == check(base={"quantisation": "nf4"}) == {}
    assert check(base={"quantisation": "int8"}) == {"base.quantisation": "warning"}
    assert check(adapter={"rank": "full"}) == {"adapter.rank": "error"}
    assert check(adapter={"init": "loftq"}, base={"quantisation": "nf4"}) == {
        "adapter.init": "error"
    }
