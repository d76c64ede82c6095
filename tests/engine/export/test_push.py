"""A verified export reaches the hub whole and private, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.errors import FileUnusable, NetworkFailed, Offline, RecipeInvalid
from studio.core.events.types import ExportProgressed
from studio.core.hub.refusals import HubRefused
from studio.core.network.gate import Gate
from studio.engine.export.push import Pushed, collect_upload, push
from tests.engine.export.upload_hub import TOKEN, UploadHub, serve_hub

# The hub's own library hands files to its HTTP library in an older way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the fake speaks the older protocol
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve_hub() as hub:
        move_hub(monkeypatch, hub.url)
        yield hub


def move_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Puts the hub at another address, as the variable does for a process that starts."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setenv("HF_ENDPOINT", url)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 100)
    config = {"r": 4, "base_model_name_or_path": "/home/somebody/models/tiny"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\nbase_model: org/tiny\n---\n# talk\n")
    (folder / "certificate.json").write_text(json.dumps({"verified": True}))
    return folder


def run_out(folder: Path, repository: str = "me/talk", **options: bool) -> tuple[list[int], Pushed]:
    steps = push(Gate(), collect_upload(folder), repository, **options)
    done = []
    while True:
        try:
            event = next(steps)
        except StopIteration as end:
            return done, end.value
        assert isinstance(event, ExportProgressed)
        done.append(event.done_bytes)


def test_every_file_arrives_and_the_repository_is_private(hub: UploadHub, exported: Path) -> None:
    done, pushed = run_out(exported)
    assert hub.is_private is True
    assert set(hub.files) == {path.name for path in exported.iterdir()}
    for name in ("adapter_model.safetensors", "README.md", "certificate.json"):
        assert hub.files[name] == (exported / name).read_bytes()
    assert pushed == Pushed(f"{hub.url}/me/talk", "c" * 40)
    assert done[-1] == sum(path.stat().st_size for path in exported.iterdir())


def test_the_base_is_named_as_on_the_hub_and_no_path_is_told(
    hub: UploadHub, exported: Path
) -> None:
    run_out(exported, is_private=False)
    assert hub.is_private is False
    assert json.loads(hub.files["adapter_config.json"])["base_model_name_or_path"] == "org/tiny"
    (exported / "README.md").write_text("# no header")
    contents = collect_upload(exported).contents
    assert json.loads(contents["adapter_config.json"])["base_model_name_or_path"] is None


def test_a_stop_shows_nothing(hub: UploadHub, exported: Path) -> None:
    steps = push(Gate(), collect_upload(exported), "me/talk")
    next(steps)
    steps.close()
    assert hub.files == {}


def test_a_closed_gate_asks_nobody(hub: UploadHub, exported: Path) -> None:
    with pytest.raises(Offline, match="upload me/talk"):
        next(push(Gate("option"), collect_upload(exported), "me/talk"))
    assert hub.requests == []


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_without_the_right_to_write_the_remedy_is_a_token(
    token: str, hub: UploadHub, exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(HubRefused) as caught:
        run_out(exported)
    assert caught.value.code == "hub_token"
    assert "token" in caught.value.remedy
    assert hub.files == {}


def test_a_public_repository_is_not_filled_by_mistake(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve_hub(is_public=True) as hub:
        move_hub(monkeypatch, hub.url)
        with pytest.raises(HubRefused, match="everybody can see it"):
            run_out(exported)
        assert hub.files == {}


def test_only_a_verified_export_goes_up(exported: Path) -> None:
    (exported / "certificate.json").write_text(json.dumps({"verified": False}))
    with pytest.raises(FileUnusable, match="check failed"):
        collect_upload(exported)
    (exported / "certificate.json").unlink()
    with pytest.raises(FileUnusable):
        collect_upload(exported)


def test_a_hub_that_is_not_there_is_told_in_words(
    hub: UploadHub, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeInvalid, match="owner/name"):
        run_out(exported, "not a name")
    move_hub(monkeypatch, f"{hub.url}/elsewhere")
    with pytest.raises(NetworkFailed, match="refused the upload"):
        run_out(exported)
