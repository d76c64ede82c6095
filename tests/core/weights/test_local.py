"""Models on this machine are found, and those that cannot be used say why and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from studio.core.errors import FileUnusable, ModelUnusable
from studio.core.hub.cache import find_hub_snapshot, get_hub_cache
from studio.core.weights import local
from studio.core.weights.folder import check_model_folder
from studio.core.weights.local import find_models

_COMMIT = "a" * 40
_OLDER = "b" * 40


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for key in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def _write_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    config = LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=8
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def _write_names(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


_CONFIG = json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]})


@pytest.mark.parametrize(
    ("files", "message", "remedy"),
    [
        ({}, "no model folder: config.json is missing", "Choose the folder"),
        ({"adapter_config__json": "{}"}, "holds an adapter, not a base model", "Choose the model"),
        ({"m__gguf": ""}, "a model for llama.cpp", "original model"),
        ({"config__json": "{"}, "not valid JSON", "again"),
        ({"config__json": "[]"}, "not a JSON object", "again"),
        ({"config__json": "{}"}, "does not say which kind", "transformers"),
        ({"config__json": _CONFIG}, "holds no weights", "Download"),
        ({"config__json": _CONFIG, "pytorch_model__bin": ""}, "pickle files", "safetensors"),
        ({"config__json": _CONFIG, "m__Q4__gguf": ""}, "only as GGUF", "original"),
        ({"config__json": _CONFIG, "x__incomplete": ""}, "is not finished", "again"),
        ({"config__json": _CONFIG, "x__safetensors": ""}, "nor an index of parts", "transformers"),
        ({"config__json": _CONFIG, "model__safetensors": "nonsense"}, "does not start as", "again"),
        (
            {"config__json": json.dumps({"model_type": "llama", "quantization_config": {"b": 4}})},
            "already quantised",
            "original",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_says_why_and_what_to_do(
    tmp_path: Path, files: dict[str, str], message: str, remedy: str
) -> None:
    folder = _write_names(tmp_path / "m", **files)
    with pytest.raises(ModelUnusable) as caught:
        check_model_folder(folder)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def test_a_complete_folder_is_accepted_and_a_missing_tokenizer_is_not(tmp_path: Path) -> None:
    folder = _write_model(tmp_path / "m")
    check_model_folder(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnusable, match="holds no tokenizer"):
        check_model_folder(folder)
    with pytest.raises(ModelUnusable, match="does not exist"):
        check_model_folder(tmp_path / "no")
    with pytest.raises(ModelUnusable, match="is a file"):
        check_model_folder(folder / "config.json")


def test_models_are_found_in_the_cache_in_lm_studio_and_in_own_folders(home: Path) -> None:
    repository = home / ".cache/huggingface/hub/models--acme--tiny"
    _write_model(repository / "snapshots" / _COMMIT)
    _write_names(repository / "refs", main=_COMMIT)
    _write_names(home / ".lmstudio/models/maker/packed", m__gguf="x" * 10)
    own = _write_model(home / "models" / "mine")
    _write_names(home / "models" / "adapter", adapter_config__json="{}")
    _write_names(home / "models" / "old", config__json=_CONFIG, pytorch_model__bin="xxxx")
    found = {model.name: model for model in find_models([home / "models", own])}
    assert set(found) == {"acme/tiny", "mine", "maker/packed", "old"}
    assert found["acme/tiny"].reference == "acme/tiny"
    assert found["mine"].reference == str(own)
    assert found["mine"].architecture == "LlamaForCausalLM"
    assert found["mine"].parameters == found["acme/tiny"].parameters > 0
    assert found["mine"].size_bytes == 4 * found["mine"].parameters
    assert [model.is_usable for model in find_models([home / "models"])] == [
        True,
        True,
        False,
        False,
    ]
    assert "pickle" in found["old"].problem
    assert (found["old"].size_bytes, found["old"].architecture) == (4, "LlamaForCausalLM")
    assert "GGUF" in found["maker/packed"].problem


def test_a_model_that_writes_no_text_is_listed_with_the_reason(tmp_path: Path, home: Path) -> None:
    config = json.dumps({"model_type": "bert", "architectures": ["BertModel"]})
    folder = _write_names(tmp_path / "bert", config__json=config, tokenizer__json="{}")
    save_file({"encoder.layer.0.x.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    (found,) = find_models([folder])
    assert not found.is_usable
    assert "BertModel is not a model that writes text" in found.problem


def test_a_hub_name_leads_to_its_snapshot(home: Path) -> None:
    repository = get_hub_cache() / "models--acme--tiny"
    for commit in (_COMMIT, _OLDER):
        _write_names(repository / "snapshots" / commit, config__json="{}")
    _write_names(repository / "refs", main=_OLDER)
    assert find_hub_snapshot("acme/tiny") == repository / "snapshots" / _OLDER
    assert find_hub_snapshot("acme/tiny", "aaaaaaaa") == repository / "snapshots" / _COMMIT
    assert find_hub_snapshot("acme/tiny", "v2") is None
    assert find_hub_snapshot("acme/tiny", "../../x") is None
    (repository / "refs/main").unlink()
    assert find_hub_snapshot("acme/tiny") is not None


@pytest.mark.parametrize("name", ["../x", "a/b/c", "a/..", "", "a b/c", "a/b\0"])
def test_a_name_that_is_no_hub_name_leads_nowhere(home: Path, name: str) -> None:
    assert find_hub_snapshot(name) is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b"}, "/b"),
        ({"HF_HOME": "/c"}, "/c/hub"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
    ],
)
def test_the_cache_lies_where_the_hub_tools_put_it(
    environment: dict[str, str], expected: str
) -> None:
    assert get_hub_cache(environment) == Path(expected)


def test_the_search_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        _write_names(home / "many" / str(number), m__gguf="")
    monkeypatch.setattr(local, "MAX_MODELS", 3)
    assert len(find_models([home / "many"])) == 3
    monkeypatch.setattr(local, "MAX_FOLDERS", 2)
    assert len(find_models([home / "many"])) <= 1


def test_a_folder_that_cannot_be_listed_is_an_error_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(FileUnusable, match="no permission"):
        check_model_folder(tmp_path)
