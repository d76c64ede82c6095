"""Models and tokenizers load from safe local files only; everything else is refused in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from studio.core.errors import ModelUnusable, RecipeInvalid
from studio.engine.models import reference
from studio.engine.models.capabilities import get_context_tokens, read_stop_ids
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.load import load_model, resolve_device, resolve_dtype
from studio.engine.models.reference import find_model, hash_file, hash_model, read_architecture

CPU = torch.device("cpu")


@pytest.fixture
def copied_base(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "copy"))


def test_a_loaded_model_is_the_one_in_the_folder_and_frozen(tiny_base: Path) -> None:
    model = load_model(tiny_base, torch.float32, CPU)
    expected = transformers.AutoModelForCausalLM.from_pretrained(tiny_base, trust_remote_code=False)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(ids).logits, expected.eval()(ids).logits)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert load_model(tiny_base, torch.bfloat16, CPU).dtype == torch.bfloat16


def test_a_relative_folder_starts_at_the_recipe(tiny_base: Path) -> None:
    found = find_model(tiny_base.name, tiny_base.parent)
    assert found.folder == tiny_base.resolve()
    assert found.revision is None
    assert read_architecture(found.folder) == "LlamaForCausalLM"


def test_a_hub_name_is_found_in_the_cache_with_its_commit(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    commits = ["a" * 40, "b" * 40]
    root = tmp_path / "models--acme--tiny"
    for commit in commits:
        shutil.copytree(tiny_base, root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commits[0])
    assert find_model("acme/tiny", tmp_path).revision == commits[0]
    assert find_model("acme/tiny", tmp_path, commits[1]).revision == commits[1]
    with pytest.raises(ModelUnusable, match="not on this machine in version"):
        find_model("acme/tiny", tmp_path, "c" * 40)
    with pytest.raises(ModelUnusable, match="not on this machine"):
        find_model("acme/other", tmp_path)


def test_a_path_that_is_missing_is_not_taken_for_a_hub_name(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="There is no folder"):
        find_model("./models/none", tmp_path)


def _leave_only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _add_layer(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] += 1
    (folder / "config.json").write_text(json.dumps(config))


def _rename_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "newest"
    (folder / "config.json").write_text(json.dumps(config))


def _need_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('foreign code ran')")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (_leave_only_pickles, "old format"),
        (_cut_weights, "cannot be loaded"),
        (_add_layer, "incomplete"),
        (_rename_type, "not known"),
        (_need_code, "program code of its own"),
    ],
)
def test_what_cannot_be_loaded_safely_is_refused_in_words(
    damage: object, words: str, copied_base: Path
) -> None:
    damage(copied_base)
    with pytest.raises(ModelUnusable, match=words) as raised:
        load_model(copied_base, torch.float32, CPU)
    assert raised.value.remedy


def test_an_encoder_is_no_language_model(tmp_path: Path) -> None:
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, intermediate_size=16)
    config.num_attention_heads = 2
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelUnusable, match="not a language model"):
        load_model(tmp_path, torch.float32, CPU)


def test_the_tokenizer_is_exactly_what_its_file_says(tiny_base: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_base / "config.json").read_text()) | {"model_type": "qwen2"}
    for path in tiny_base.glob("tokenizer*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    text = "It costs 1234567 crowns, doesn't it?\n\n  Yes"
    expected = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids
    assert load_tokenizer(tmp_path)(text)["input_ids"] == expected


def test_a_missing_or_damaged_tokenizer_is_refused_in_words(copied_base: Path) -> None:
    (copied_base / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelUnusable, match="tokenizer"):
        load_tokenizer(copied_base)
    for path in copied_base.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelUnusable, match="tokenizer"):
        load_tokenizer(copied_base)


def test_context_and_stops_come_from_the_models_files(copied_base: Path) -> None:
    config = load_config(copied_base)
    assert get_context_tokens(config) == 256
    settings = copied_base / "generation_config.json"
    settings.write_text(json.dumps({"eos_token_id": [4, 5]}))
    assert read_stop_ids(copied_base, config) == (4, 5)
    settings.unlink()
    assert read_stop_ids(copied_base, config) == (256,)
    settings.write_text("[")
    with pytest.raises(ModelUnusable, match="damaged"):
        read_stop_ids(copied_base, config)


def test_devices_and_formats_are_resolved_with_a_reason() -> None:
    device, why = resolve_device("cpu")
    assert device == CPU
    assert why
    assert resolve_dtype("auto", CPU)[0] == torch.float32
    assert resolve_dtype("bfloat16", CPU)[0] == torch.bfloat16
    for wish in ("cuda:99", "mps", "2"):
        with pytest.raises(RecipeInvalid):
            resolve_device(wish)
    with pytest.raises(RecipeInvalid):
        resolve_dtype("int3", CPU)


def test_a_hash_changes_with_every_byte_of_a_small_file(copied_base: Path) -> None:
    before = hash_model(copied_base)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= before.keys()
    weights = bytearray((copied_base / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (copied_base / "model.safetensors").write_bytes(weights)
    after = hash_model(copied_base)
    assert [name for name in before if before[name] != after[name]] == ["model.safetensors"]


def test_a_large_file_is_hashed_by_samples(
    copied_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied_base / "model.safetensors"
    monkeypatch.setattr(reference, "_WHOLE_HASH_BYTES", 1000)
    monkeypatch.setattr(reference, "_SAMPLE_BYTES", 64)
    before = hash_file(path)
    assert before.startswith("sampled-sha256:")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert hash_file(path) != before
    path.write_bytes(content[:-1])
    assert hash_file(path) != before
