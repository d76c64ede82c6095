"""Adapter files are complete or absent, and foreign ones are believed only after a check."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.errors import AdapterUnusable, FileUnusable, StudioError
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.engine.lora.adapter import Adapter, build_adapted
from studio.engine.lora.inject import inject
from studio.engine.lora.peft_config import read_peft_config
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.lora.stored import read_adapter
from tests.engine.lora.tiny_models import build_batch, build_model


def _save(folder: Path, **settings: object) -> Adapter:
    adapter = inject(build_model("llama"), AdapterSettings(rank=4, **settings), seed=0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(std=0.1)
    save_adapter(adapter, folder, base_model="org/tiny", revision="abc")
    return adapter


def _edit_config(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_a_saved_adapter_comes_back_bit_by_bit(tmp_path: Path) -> None:
    overrides = (AdapterOverride(match="*mlp*", rank=2, alpha=7.5),)
    saved = _save(tmp_path / "a", variant="rslora", overrides=overrides)
    loaded = load_adapter(build_model("llama"), tmp_path / "a", dropout=0.1)
    for (name, old), (other, new) in zip(
        saved.named_parameters(), loaded.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(old, new)
        assert new.requires_grad
    for name, module in saved.modules.items():
        assert loaded.modules[name].scaling == module.scaling
        assert loaded.modules[name].dropout == 0.1


def test_continuing_an_adapter_starts_where_it_ended(tmp_path: Path) -> None:
    saved = _save(tmp_path / "a", targets=("q_proj",))
    model = build_model("llama")
    settings = AdapterSettings(rank=64, resume_from=str(tmp_path / "a"))
    adapter = inject(model, settings, seed=9)
    ids = build_batch()
    assert torch.equal(model(input_ids=ids).logits, saved.model(input_ids=ids).logits)
    assert adapter.trainable_parameters == saved.trainable_parameters


@pytest.mark.parametrize(
    ("settings", "targets", "layers"),
    [
        ({"targets": "attention"}, ["k_proj", "o_proj", "q_proj", "v_proj"], None),
        ({"targets": ("q_proj",), "layers": "1"}, ["q_proj"], [1]),
        (
            {"targets": ("model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj")},
            ["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj"],
            None,
        ),
    ],
)
def test_the_settings_name_the_modules_as_shortly_as_possible(
    settings: dict[str, Any], targets: list[str], layers: list[int] | None, tmp_path: Path
) -> None:
    _save(tmp_path / "a", **settings)
    content = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert content["target_modules"] == targets
    assert content["layers_to_transform"] == layers
    assert content["base_model_name_or_path"] == "org/tiny"
    assert content["revision"] == "abc"


def test_a_name_that_ends_like_another_is_written_so_that_it_means_one_module(
    tmp_path: Path,
) -> None:
    """Only a pattern of whole names can tell ``proj`` from ``inner.proj``."""
    inner = torch.nn.ModuleDict({"proj": torch.nn.Linear(4, 4)})
    model = torch.nn.ModuleDict({"proj": torch.nn.Linear(4, 4), "inner": inner})
    module = build_adapted(model["proj"], "linear", rank=2, alpha=4.0)
    adapter = Adapter(model, {"proj": module}, variant="plain", init="kaiming")
    save_adapter(adapter, tmp_path / "a", base_model="x")
    content = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert content["target_modules"] == "proj"
    loaded = load_adapter(model, tmp_path / "a")
    assert list(loaded.modules) == ["proj"]

    loaded.detach()
    both = {"proj": module, "inner.proj": build_adapted(inner["proj"], "linear", rank=2, alpha=9.0)}
    both["proj.last"] = build_adapted(torch.nn.Linear(4, 4), "linear", rank=2, alpha=9.0)
    adapter = Adapter(model, both, variant="plain", init="kaiming")
    save_adapter(adapter, tmp_path / "b", base_model="x")
    config = read_peft_config(tmp_path / "b")
    assert [config.get_alpha(name) for name in both] == [4.0, 9.0, 9.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"trainable_token_indices": {"x": ["a"]}}, "trainable_token_indices"),
        ({"trainable_token_indices": [7, 2, 7]}, "names a token twice"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "all"}, "bias"),
        ({"target_parameters": ["experts.w"]}, "target_parameters"),
        ({"use_qalora": True}, "use_qalora"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"something_of_next_year": {"a": 1}}, "something_of_next_year"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"r": 0}, "r is 0"),
        ({"r": 3}, "has rank 4, but the settings say 3"),
        ({"lora_alpha": "high"}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"lora_alpha": 10**400}, "lora_alpha"),
        ({"alpha_pattern": {"(": 1}}, "broken pattern"),
        ({"alpha_pattern": {r"([\w.]+)+!": 1}}, "too intricate a pattern"),
        ({"alpha_pattern": {".*" * 30 + "!": 1}}, "too intricate a pattern"),
        ({"rank_pattern": [1]}, "no table"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    _save(tmp_path / "a")
    _edit_config(tmp_path / "a", **changes)
    with pytest.raises(AdapterUnusable) as caught:
        read_adapter(tmp_path / "a")
    assert words in caught.value.message
    assert caught.value.remedy


_Q = "base_model.model.model.layers.0.self_attn.q_proj."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(_Q + "lora_B.weight"), "lacks one of its two matrices"),
        (lambda t: t[_Q + "lora_A.weight"].fill_(float("nan")), "not finite"),
        (lambda t: t.update({_Q + "lora_A.weight": torch.zeros(3, 32)}), "do not fit each other"),
        (lambda t: t.update({_Q + "lora_magnitude_vector": torch.zeros(3)}), "DoRA"),
        (lambda t: t.update({"../../x": torch.zeros(3)}), "we do not know"),
        (lambda t: t.update({_Q + "lora_A.weight": torch.zeros(4, 32).long()}), "not stored as"),
        (lambda t: t.clear(), "no adapter matrices"),
    ],
)
def test_damaged_tensors_are_refused(
    change: Callable[[dict[str, torch.Tensor]], object], words: str, tmp_path: Path
) -> None:
    _save(tmp_path / "a")
    _edit_tensors(tmp_path / "a", change)
    with pytest.raises(AdapterUnusable, match=words):
        read_adapter(tmp_path / "a")


@pytest.mark.parametrize("length", [0, 5, 100, 2000])
def test_a_file_that_was_cut_off_is_refused(length: int, tmp_path: Path) -> None:
    _save(tmp_path / "a")
    path = tmp_path / "a" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(AdapterUnusable):
        read_adapter(tmp_path / "a")


def test_an_oversized_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    _save(tmp_path / "a")
    entries = ",".join(
        f'"t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(60_000)
    )
    path = tmp_path / "a" / "adapter_model.safetensors"
    text = f"{{{entries}}}".encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(AdapterUnusable, match="more tensors than an adapter can have"):
        read_adapter(tmp_path / "a")
    path.write_bytes(struct.pack("<Q", 20_000_000) + b"{" + b" " * 20_000_000)
    with pytest.raises(AdapterUnusable, match="more tensors than an adapter can have"):
        read_adapter(tmp_path / "a")


def test_missing_files_and_pickles_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="does not exist"):
        read_adapter(tmp_path / "nowhere")
    _save(tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").rename(tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(AdapterUnusable, match="pickle"):
        read_adapter(tmp_path / "a")
    (tmp_path / "a" / "adapter_config.json").write_text("{")
    with pytest.raises(AdapterUnusable, match="no readable JSON"):
        read_adapter(tmp_path / "a")


def test_an_adapter_of_another_model_is_refused_and_the_model_stays_bare(tmp_path: Path) -> None:
    _save(tmp_path / "a")
    for other, words in (
        (build_model("gpt2"), "there is no layer"),
        (build_model("llama", hidden_size=64), "does not fit this model"),
    ):
        before = [name for name, _ in other.named_parameters()]
        with pytest.raises(AdapterUnusable, match=words) as caught:
            load_adapter(other, tmp_path / "a")
        assert "org/tiny" in caught.value.remedy
        assert [name for name, _ in other.named_parameters()] == before


def test_a_table_that_peft_saved_along_is_accepted_only_unchanged(tmp_path: Path) -> None:
    model = build_model("llama")
    _save(tmp_path / "a")
    key = "base_model.model.model.embed_tokens.weight"
    table = model.get_input_embeddings().weight.detach().clone()
    _edit_tensors(tmp_path / "a", lambda tensors: tensors.update({key: table}))
    load_adapter(model, tmp_path / "a").detach()
    _edit_tensors(tmp_path / "a", lambda tensors: tensors[key].add_(1.0))
    with pytest.raises(AdapterUnusable, match=r"replaces the whole of model\.embed_tokens"):
        load_adapter(model, tmp_path / "a")


def test_saving_over_an_adapter_replaces_all_of_it_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = _save(tmp_path / "a")
    before = (tmp_path / "a" / "adapter_model.safetensors").read_bytes()
    for parameter in adapter.parameters():
        parameter.data.zero_()

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        with pytest.raises(StudioError, match="no space left"):
            save_adapter(adapter, tmp_path / "a", base_model="x")
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    save_adapter(adapter, tmp_path / "a", base_model="x")
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() != before
