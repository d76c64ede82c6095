"""Downloads: resumable, verified, visible only when whole, in the layout of the hub's tools."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from studio.core import files as core_files
from studio.core.errors import DiskFull, FileUnusable, NetworkFailed, Offline, RunConflict
from studio.core.hub import download as download_module
from studio.core.hub.cache import find_hub_snapshot, iter_snapshots
from studio.core.hub.choose import choose_files
from studio.core.hub.client import describe
from studio.core.hub.download import Downloader
from studio.core.hub.names import Repository
from studio.core.hub.refusals import HubRefused
from studio.core.hub.store import HubStore
from studio.core.hub.token import save_token
from studio.core.network.fetch import FetchCancelled
from studio.core.network.gate import Gate
from tests.core.hub.fake_hub import GOOD_TOKEN, FakeHub

WEIGHTS = os.urandom(3 << 20)
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickle",
    "modeling_evil.py": b"import os",
}
TINY = Repository("model", "acme/tiny")


def build(hub: FakeHub, repository: Repository = TINY, **options: Any) -> Downloader:
    details = describe(Gate(), repository)
    options.setdefault("wait", lambda _: None)
    return Downloader(Gate(), details, choose_files(details), **options)


def fetch_all(loader: Downloader) -> Path:
    steps = list(loader.iter_download())
    assert steps[-1].done_bytes == steps[-1].total_bytes
    return loader.snapshot


def test_a_model_lies_where_the_hubs_own_tools_find_it(hub: FakeHub, tmp_path: Path) -> None:
    commit = hub.add("acme/tiny", MODEL)
    folder = fetch_all(build(hub))
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "tokenizer.json", "model.safetensors",
    }  # fmt: skip
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert find_hub_snapshot("acme/tiny") == folder
    assert find_hub_snapshot("acme/tiny", commit) == folder
    assert list(iter_snapshots("model")) == [("acme/tiny", folder)]
    cache = tmp_path / "hub"
    theirs = huggingface_hub.snapshot_download("acme/tiny", cache_dir=cache, local_files_only=True)
    assert Path(theirs) == folder
    scanned = huggingface_hub.scan_cache_dir(cache)
    assert scanned.warnings == []
    assert next(iter(scanned.repos)).refs.keys() == {"main"}
    found = huggingface_hub.try_to_load_from_cache("acme/tiny", "model.safetensors", cache)
    assert found == str(folder / "model.safetensors")


def test_a_second_download_fetches_nothing(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    fetch_all(build(hub))
    hub.log.clear()
    fetch_all(build(hub))
    assert hub.ranges("model.safetensors") == []


def test_cut_connections_go_on_where_they_broke_off(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    hub.cuts = [1 << 20, 1 << 20]
    pauses: list[float] = []
    folder = fetch_all(build(hub, wait=pauses.append))
    assert hub.ranges("model.safetensors") == [None, "bytes=1048576-", "bytes=2097152-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert len(pauses) == 2


def test_a_dead_connection_is_given_up_and_what_arrived_is_kept(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    hub.cuts = [1 << 20] + [0] * 10
    with pytest.raises(NetworkFailed, match="broke off"):
        fetch_all(build(hub))
    assert HubStore(TINY).folder.exists()
    assert find_hub_snapshot("acme/tiny") is None
    hub.cuts = []
    hub.log.clear()
    fetch_all(build(hub))
    assert hub.ranges("model.safetensors") == ["bytes=1048576-"]


def test_cancelling_leaves_a_part_that_the_next_start_goes_on_with(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    wished: list[bool] = []
    steps = build(hub, is_cancelled=lambda: bool(wished)).iter_download()
    done = next(one.done_bytes for one in steps if one.done_bytes > 1 << 20)
    wished.append(True)
    with pytest.raises(FetchCancelled):
        next(steps)
    assert done < len(WEIGHTS)
    parts = list((HubStore(TINY).folder / "blobs").glob("*.part"))
    assert [1 << 20 < part.stat().st_size < len(WEIGHTS) for part in parts] == [True]
    hub.log.clear()
    folder = fetch_all(build(hub))
    assert hub.ranges("model.safetensors") == [f"bytes={hub_start(hub)}-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def hub_start(hub: FakeHub) -> int:
    part = next(part for path, part, _ in hub.log if path.endswith(".safetensors"))
    assert part is not None
    return int(part.removeprefix("bytes=").rstrip("-"))


def test_a_part_with_wrong_bytes_is_thrown_away_and_fetched_again(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    loader = build(hub)
    store, file = HubStore(TINY), choose_files(describe(Gate(), TINY))[-1]
    part = store.get_part(file)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    folder = fetch_all(loader)
    assert hub.ranges("model.safetensors") == ["bytes=1000-", None]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_files_that_change_on_the_way_are_refused(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    hub.wrong = ["config.json"]
    with pytest.raises(NetworkFailed, match=r"config\.json is not what the hub promised"):
        fetch_all(build(hub))
    hub.wrong = ["model.safetensors"]
    with pytest.raises(NetworkFailed, match="its check sum is another one") as told:
        fetch_all(build(hub))
    assert told.value.code == "hub_wrong_hash"
    assert list((HubStore(TINY).folder / "blobs").glob("*.part")) == []


@pytest.mark.parametrize(("token", "words"), [(None, "log in and accept"), (GOOD_TOKEN, "")])
def test_a_gated_model_asks_for_acceptance(hub: FakeHub, token: str | None, words: str) -> None:
    hub.add("acme/tiny", MODEL)
    hub.gated = {"acme/tiny"}
    if token:
        save_token(token)
        assert fetch_all(build(hub)).is_dir()
        return
    with pytest.raises(HubRefused, match=words) as told:
        fetch_all(build(hub))
    assert told.value.code == "hub_gated"
    assert f"{hub.url}/acme/tiny" in told.value.remedy


def test_a_bad_token_is_told_from_a_missing_one(hub: FakeHub) -> None:
    save_token("hf_wrongwrong")
    with pytest.raises(HubRefused, match="does not accept the saved access token"):
        describe(Gate(), TINY)


def test_what_does_not_exist_is_told(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    with pytest.raises(HubRefused, match="no model acme/none on the hub, or it is private"):
        describe(Gate(), Repository("model", "acme/none"))
    with pytest.raises(HubRefused, match="not in the wanted version"):
        describe(Gate(), TINY, "v9")


def test_too_little_space_is_told_before_anything_is_fetched(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("acme/tiny", MODEL)
    usage = shutil.disk_usage(Path.cwd())._replace(free=1 << 20)
    monkeypatch.setattr(core_files.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFull, match="GB are needed"):
        fetch_all(build(hub))
    assert hub.ranges("config.json") == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a small disk in memory")
def test_a_disk_that_fills_up_is_told_and_the_part_can_go_on(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("acme/tiny", MODEL)
    opened = Path.open

    class Full:
        def __init__(self, stream: Any) -> None:
            self._stream = stream
            self._left = 1 << 20

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._stream.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def write(self, piece: bytes) -> int:
            self._left -= len(piece)
            if self._left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self._stream.write(piece))

    def open_small(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        stream = opened(path, mode, *args, **kwargs)
        return Full(stream) if path.suffix == ".part" and mode != "rb" else stream

    monkeypatch.setattr(Path, "open", open_small)
    with pytest.raises(DiskFull, match="no space left"):
        fetch_all(build(hub))
    monkeypatch.setattr(Path, "open", opened)
    hub.log.clear()
    fetch_all(build(hub))
    assert hub_start(hub) > 0


def test_two_downloads_of_the_same_model_do_not_meet(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    first = build(hub).iter_download()
    next(first)
    with pytest.raises(RunConflict, match="is being downloaded already"):
        fetch_all(build(hub))
    first.close()
    fetch_all(build(hub))


def test_without_links_the_files_themselves_lie_in_the_version(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("acme/tiny", MODEL | {"tokenizer_config.json": MODEL["tokenizer.json"]})

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = fetch_all(build(hub))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert not (folder / "model.safetensors").is_symlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):  # two files of one content
        assert (folder / name).read_bytes() == b"{}"
    hub.log.clear()
    fetch_all(build(hub))
    assert hub.ranges("model.safetensors") == []


def test_an_unwritable_cache_is_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("acme/tiny", MODEL)
    loader = build(hub)
    (tmp_path / "hub").write_text("a file")
    with pytest.raises(FileUnusable):
        fetch_all(loader)


def test_offline_fetches_nothing(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    details = describe(Gate(), TINY)
    hub.log.clear()
    with pytest.raises(Offline, match="needed to download acme/tiny"):
        fetch_all(Downloader(Gate("option"), details, choose_files(details)))
    assert hub.log == []


def test_unfinished_parts_can_be_thrown_away(hub: FakeHub) -> None:
    hub.add("acme/tiny", MODEL)
    hub.cuts = [1 << 20] + [0] * 10
    with pytest.raises(NetworkFailed):
        fetch_all(build(hub))
    assert HubStore(TINY).discard_parts() == 1 << 20
    assert download_module.RETRIES == 5
