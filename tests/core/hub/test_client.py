"""Names, search, the choice of files and the token."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.file_download import repo_folder_name
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import DatasetInvalid, ModelUnusable, NetworkFailed, Offline, RecipeInvalid
from studio.core.hub.choose import choose_files, is_safe_path
from studio.core.hub.client import HubDetails, HubEntry, HubFile, build_file_url, describe, search
from studio.core.hub.names import Repository, find_repository, get_endpoint, get_repository
from studio.core.hub.token import find_token, save_token
from studio.core.network.gate import Gate
from tests.core.hub.fake_hub import FakeHub


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
        ("gpt2", "gpt2"),
        ("hub:acme/rows", "acme/rows"),
        ("https://huggingface.co/acme/tiny/tree/main", "acme/tiny"),
        ("./models/tiny", None),
        ("a/b/c", None),
        ("../secret", None),
        ("acme/..", None),
        ("/etc/passwd", None),
        ("C:\\models", None),
        ("a--b/c", None),
        ("", None),
    ],
)
def test_names_are_told_from_paths(text: str, name: str | None) -> None:
    found = find_repository(text, "model")
    assert (found and found.name) == name


def test_data_sets_are_told_by_their_address() -> None:
    for text in ("datasets/acme/rows", "https://huggingface.co/datasets/acme/rows"):
        assert find_repository(text, "model") == Repository("dataset", "acme/rows")
    with pytest.raises(RecipeInvalid, match="no name of a model or data set"):
        get_repository("no name", "dataset")


def test_the_folder_and_the_address_are_those_of_the_hubs_own_tools() -> None:
    for kind in ("model", "dataset"):
        repository = Repository(kind, "acme/tiny")
        theirs = repo_folder_name(repo_id="acme/tiny", repo_type=kind)
        assert repository.folder_name == theirs
        url = huggingface_hub.hf_hub_url(
            "acme/tiny", "a b/c#1.json", repo_type=kind, revision="a" * 40, endpoint=get_endpoint()
        )
        assert build_file_url(repository, "a" * 40, "a b/c#1.json") == url


@given(st.text(max_size=30))
def test_no_name_leads_out_of_the_cache(text: str) -> None:
    found = find_repository(text, "model")
    if found is not None:
        assert Path(found.folder_name).name == found.folder_name
        assert not found.folder_name.startswith(".")


def test_a_search_tells_what_matters(hub: FakeHub) -> None:
    hub.add("acme/tiny", {})
    hub.add("other/model", {})
    hub.add("acme/rows", {}, "dataset")
    hub.gated = {"acme/tiny"}
    assert search(Gate(), "model", "ACME") == [
        HubEntry(Repository("model", "acme/tiny"), 1234, 5, 1000, "apache-2.0", True, "2026-01-02")
    ]
    assert [one.repository.name for one in search(Gate(), "dataset", "")] == ["acme/rows"]
    with pytest.raises(Offline, match="search the hub"):
        search(Gate("setting"), "model", "x")


def test_the_size_is_known_before_anything_is_fetched(hub: FakeHub) -> None:
    files = {"config.json": b"{}", "model.safetensors": bytes(1000)}
    commit = hub.add("acme/tiny", files)
    details = describe(Gate(), Repository("model", "acme/tiny"), "main")
    assert details.commit == commit
    assert details.dtype == "BF16"
    assert sum(file.size_bytes for file in choose_files(details)) == 1002


def test_an_answer_that_is_no_answer_is_told(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeHub, "_about", lambda *_: {"sha": "../../x"})
    hub.add("acme/tiny", {})
    assert search(Gate(), "model", "") == []
    monkeypatch.setattr(FakeHub, "commit", lambda *_: "../../x")
    with pytest.raises(NetworkFailed, match="cannot be understood"):
        describe(Gate(), Repository("model", "acme/tiny"))


def build_details(*paths: str, kind: str = "model") -> HubDetails:
    entry = HubEntry(Repository("model" if kind == "model" else "dataset", "acme/x"))
    return HubDetails(entry, "c" * 40, tuple(HubFile(path, 1, "a" * 40) for path in paths))


def choose(*paths: str, kind: str = "model", only: str = "") -> set[str]:
    return {file.path for file in choose_files(build_details(*paths, kind=kind), only)}


def test_only_weights_tokenizer_and_settings_of_a_model_are_fetched() -> None:
    wanted = {"config.json", "tokenizer.json", "tokenizer_config.json", "merges.txt", "LICENSE.md",
              "chat_template.jinja", "model-00001-of-00002.safetensors", "generation_config.json",
              "model-00002-of-00002.safetensors", "model.safetensors.index.json"}  # fmt: skip
    others = {"pytorch_model.bin", "modeling_x.py", "consolidated.safetensors", "original/a.pth",
              "onnx/model.onnx", "onnx/config.json", "evil.pkl", "model.gguf", "../config.json",
              ".gitattributes", "x/../../model.safetensors", "training_args.bin"}  # fmt: skip
    assert choose(*wanted, *others) == wanted
    assert choose("config.json", "smol.safetensors") == {"config.json", "smol.safetensors"}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("pytorch_model.bin", "config.json"), "hidden programs"),
        (("model.Q4_K.gguf",), "made for running, not for training"),
        (("README.md",), "no weights that can be used"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_the_download(
    paths: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ModelUnusable, match=words):
        choose(*paths)


def test_only_data_of_a_data_set_is_fetched() -> None:
    wanted = {"train.jsonl", "data/train-0.parquet", "en/a.csv.gz", "notes.txt", "all.zip"}
    others = {"README.md", "script.py", ".gitattributes", "dataset_infos.json", "x.pkl", "x.bin.gz"}
    assert choose(*wanted, *others, kind="dataset") == wanted
    assert choose(*wanted, kind="dataset", only="data") == {"data/train-0.parquet"}
    assert choose(*wanted, kind="dataset", only="*.csv.gz") == {"en/a.csv.gz"}
    with pytest.raises(DatasetInvalid, match="no data under 'fr'"):
        choose(*wanted, kind="dataset", only="fr")
    with pytest.raises(DatasetInvalid, match="consists of a program"):
        choose("script.py", kind="dataset")


@pytest.mark.parametrize(
    "path", ["", "..", "a/../b", "/a", "a//b", "a\\b", "C:/x", "a/ /b", "a\nb", "x" * 500, "a/."]
)
def test_paths_that_lead_elsewhere_are_passed_over(path: str) -> None:
    assert not is_safe_path(path)
    assert is_safe_path("data/train 0.parquet")


def test_the_token_is_the_one_of_the_hubs_own_tools(tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path)}
    assert find_token(environment) is None
    path = save_token(" hf_abc123 \n", environment)
    assert path == tmp_path / "token"
    assert find_token(environment) == "hf_abc123"
    assert find_token({**environment, "HF_TOKEN": "hf_other"}) == "hf_other"
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(RecipeInvalid, match="no access token"):
        save_token("two words", environment)
