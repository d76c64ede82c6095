"""Adapters and capsules from elsewhere join the history, or are refused in words within seconds."""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.errors import StudioError
from studio.core.events.types import Event, ImportFinished, NoticeRaised, RunStopped
from studio.core.events.writer import EventWriter
from studio.core.jobs.orders import ExportOrder, ImportOrder, Stop
from studio.core.paths import Home
from studio.core.runs.exporting import find_base, find_run
from studio.core.runs.importing import choose_base
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.engine.jobs import export, import_run
from studio.engine.models.load import load_model
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run
from tests.windows_rules import follow_windows_rules

Tensors = dict[str, torch.Tensor]
KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture(autouse=True)
def _windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here also holds where files in use can be neither moved nor deleted."""
    follow_windows_rules(monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_chats: Path) -> Path:
    """The run directory of a short run."""
    home = Home(tmp_path_factory.mktemp("first"))
    layout = build_run(home.runs / "talk", tiny_base, tiny_chats, steps=8)
    with EventWriter(layout.events) as writer:
        for event in train_run(layout):
            writer.write(event)
    return layout.folder


def bring(source: Path, home: Path, **details: object) -> tuple[list[Event], RunStore]:
    order = ImportOrder.model_validate({"source": str(source), "home": str(home), **details})
    layout = RunLayout(home)
    return list(import_run.run(order, layout, ScriptedControl(layout))), RunStore(Home(home))


def pack(run: Path, out: Path) -> Path:
    order = ExportOrder(adapter=str(run / "adapter"), target="capsule", out=str(out), name="talk")
    events = list(export.run(order, RunLayout(out), ScriptedControl(RunLayout(out))))
    finished = events[-2]
    assert getattr(finished, "is_verified", False), events
    return out / "talk.capsule.zip"


def only(store: RunStore) -> RunRecord:
    (record,) = store.list()
    return record


def test_a_capsule_brings_recipe_curves_and_adapter(trained: Path, tmp_path: Path) -> None:
    events, store = bring(pack(trained, tmp_path / "out"), tmp_path / "home")
    (finished,) = of_type(events, ImportFinished)
    record = only(store)
    before = RunStore(Home(trained.parent)).load(RunLayout(trained))
    assert str(record.folder) == finished.folder
    assert (record.status, record.is_imported, record.is_resumable) == ("finished", True, False)
    assert (record.step, record.last_loss) == (before.step, before.last_loss)
    assert store.load_recipe(record).name == "talk"
    assert finished.hashes >= 6
    adapter = record.folder / str(record.adapter_folder)
    for path in (trained / "adapter").iterdir():
        assert (adapter / path.name).read_bytes() == path.read_bytes()
    assert of_type(events, NoticeRaised) == []  # base and data lie where they were


def test_a_capsule_says_which_inputs_are_missing_here(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "talk"
    shutil.copytree(trained, run)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["base"]["folder"] = str(tmp_path / "gone")
    manifest["data"] = dict.fromkeys(manifest["data"], "sha256:0")
    (run / "manifest.json").write_text(json.dumps(manifest))
    events, _ = bring(pack(run, tmp_path / "out"), tmp_path / "home")
    told = {notice.code: notice.message for notice in of_type(events, NoticeRaised)}
    assert str(tmp_path / "gone") in told["inputs_missing"]
    assert "chats" in told["inputs_changed"]
    found = RunLayout(only(RunStore(Home(tmp_path / "home"))).folder)
    choose_base(found, "/models/here")
    assert find_base(found) == "/models/here"  # the recipe still names the old place


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_of_peft_joins_the_history(tiny_base: Path, tmp_path: Path) -> None:
    model = load_model(tiny_base, torch.float32, torch.device("cpu"))
    config = peft.LoraConfig(r=3, target_modules=["q_proj", "v_proj"])
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "from peft")
    events, store = bring(tmp_path / "from peft", tmp_path / "home", name="théirs")
    record = only(store)
    assert (record.name, record.status, record.step) == ("théirs", "finished", 0)
    assert of_type(events, ImportFinished)[0].modules == 4
    assert find_base(RunLayout(record.folder)) == str(tiny_base)
    adapter = record.folder / "adapter"
    assert find_run(adapter) == RunLayout(record.folder)
    again, _ = bring(record.folder, tmp_path / "second home")  # a run directory is taken, too
    assert of_type(again, ImportFinished)


def test_a_stop_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    order = ImportOrder(source=str(trained / "adapter"), home=str(tmp_path / "home"))
    control = ScriptedControl(RunLayout(tmp_path))
    control.at(lambda _: True, Stop())
    (*_, last) = import_run.run(order, RunLayout(tmp_path), control)
    assert isinstance(last, RunStopped)
    assert not list(tmp_path.rglob("adapter*"))


def test_a_capsule_with_a_broken_recipe_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "talk"
    shutil.copytree(trained, run)
    (run / "recipe.yaml").write_text("version: 1\nbase: {model: 7}\n")
    with pytest.raises(StudioError):
        bring(pack(run, tmp_path / "out"), tmp_path / "home")
    assert list((tmp_path / "home" / "runs").iterdir()) == []


def edit_weights(change: Callable[[Tensors], Any]) -> Callable[[Path], None]:
    def apply(adapter: Path) -> None:
        tensors = load_file(adapter / "adapter_model.safetensors")
        change(tensors)
        save_file(tensors, adapter / "adapter_model.safetensors")

    return apply


def edit_config(**values: object) -> Callable[[Path], None]:
    def apply(adapter: Path) -> None:
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return apply


def edit_bytes(change: Callable[[bytes], bytes], name: str = "adapter_model.safetensors") -> Any:
    def apply(adapter: Path) -> None:
        (adapter / name).write_bytes(change((adapter / name).read_bytes()))

    return apply


def edit_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def rewrite(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + content[8 + length :]

    return edit_bytes(rewrite)


def _list_many(header: dict[str, Any]) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header.update({f"base_model.model.layers.{n}.q.lora_A.weight": entry for n in range(600_000)})


def _fill(value: float, dtype: torch.dtype = torch.float32) -> Callable[[Path], None]:
    return edit_weights(lambda t: t.update({KEY: torch.full_like(t[KEY], value).to(dtype)}))


def _reshape(*shape: int) -> Callable[[Path], None]:
    return edit_weights(lambda t: t.update({KEY: torch.zeros(shape)}))


def _rename(name: str) -> Callable[[Path], None]:
    return edit_weights(lambda t: t.update({name: t.pop(KEY)}))


NAN, INF = float("nan"), float("inf")
MUTATIONS: dict[str, Callable[[Path], Any]] = {
    "nan": _fill(NAN),
    "infinity": _fill(INF),
    "minus infinity": _fill(-INF),
    "nan in halves": _fill(NAN, torch.float16),
    "nan in bfloat16": _fill(NAN, torch.bfloat16),
    "nan in doubles": _fill(NAN, torch.float64),
    "whole numbers": _fill(1, torch.int32),
    "bytes": _fill(1, torch.uint8),
    "truth values": _fill(1, torch.bool),
    "8-bit floats": _fill(1, torch.float8_e4m3fn),
    "no dimension": _reshape(),
    "one dimension": _reshape(32),
    "six dimensions": _reshape(4, 1, 1, 1, 1, 32),
    "another rank": _reshape(5, 32),
    "no rank": _reshape(0, 32),
    "turned round": _reshape(32, 4),
    "name above": _rename("../../../evil.lora_A.weight"),
    "name of the root": _rename("/etc/passwd"),
    "empty name": _rename(""),
    "name without prefix": _rename("model.layers.0.self_attn.q_proj.lora_A.weight"),
    "name of a bias": _rename(KEY.replace(".weight", ".bias")),
    "half a pair": edit_weights(lambda t: t.pop(KEY)),
    "no tensors": edit_weights(lambda t: t.clear()),
    "600k tensors": edit_header(_list_many),
    "offsets behind the end": edit_header(lambda h: h[KEY].update(data_offsets=[0, 1 << 60])),
    "offsets backwards": edit_header(lambda h: h[KEY].update(data_offsets=[100, 0])),
    "negative shape": edit_header(lambda h: h[KEY].update(shape=[-4, 32])),
    "huge shape": edit_header(lambda h: h[KEY].update(shape=[1 << 40, 1 << 40])),
    "unknown dtype": edit_header(lambda h: h[KEY].update(dtype="F128")),
    "overlap": edit_header(lambda h: h.update({"x": dict(h[KEY])})),
    "metadata that is a number": edit_header(lambda h: h.update({"__metadata__": 3})),
    "entry that is a list": edit_header(lambda h: h.update({KEY: []})),
    "empty file": edit_bytes(lambda _: b""),
    "seven bytes": edit_bytes(lambda content: content[:7]),
    "cut in the header": edit_bytes(lambda content: content[:60]),
    "cut in the numbers": edit_bytes(lambda content: content[:-1]),
    "more than it says": edit_bytes(lambda content: content + b"more"),
    "a huge header": edit_bytes(lambda content: struct.pack("<Q", 1 << 62) + content[8:]),
    "a pickle": edit_bytes(lambda _: b"\x80\x04\x95evil"),
    "a pointer of git": edit_bytes(lambda _: b"version https://git-lfs.github.com/spec/v1\n"),
    "config of another kind": edit_config(peft_type="IA3"),
    "rank of words": edit_config(r="many"),
    "negative rank": edit_config(r=-1),
    "endless alpha": edit_config(lora_alpha=1e999),
    "slow pattern": edit_config(rank_pattern={"(a+)+$": 4}),
    "broken pattern": edit_config(rank_pattern={"(": 4}),
    "start that changes the base": edit_config(init_lora_weights="pissa"),
    "setting of the future": edit_config(use_magic=True),
    "config that is a list": edit_bytes(lambda _: b"[]", "adapter_config.json"),
    "config without end": edit_bytes(lambda _: b"[" * 100_000, "adapter_config.json"),
    "no config": lambda adapter: (adapter / "adapter_config.json").unlink(),
    "no weights": lambda adapter: (adapter / "adapter_model.safetensors").unlink(),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutated_adapter_is_refused_in_words_at_once(
    mutation: str, trained: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(trained / "adapter", adapter)
    MUTATIONS[mutation](adapter)
    start = time.process_time()
    with pytest.raises(StudioError) as caught:
        bring(adapter, tmp_path / "home")
    seconds = time.process_time() - start
    assert caught.value.message.endswith(".")
    assert caught.value.remedy
    assert not list((tmp_path / "home").rglob("adapter*"))
    assert not list(tmp_path.rglob("evil*"))
    assert seconds < 5  # processor time, so that a busy machine does not count


def test_there_are_at_least_fifty_mutations() -> None:
    assert len(MUTATIONS) >= 50


def test_a_base_that_is_not_here_is_told_and_can_be_chosen(
    trained: Path, tiny_base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(trained / "adapter", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    for name, words in (("org/elsewhere", "not on this machine"), (None, "does not say")):
        config["base_model_name_or_path"] = name
        (folder / "adapter_config.json").write_text(json.dumps(config))
        events, store = bring(folder, tmp_path / str(name).replace("/", "-"))
        (notice,) = of_type(events, NoticeRaised)
        assert notice.code == "base_missing"
        assert words in notice.message
        choose_base(RunLayout(only(store).folder), str(tiny_base))
        order = store.load_order(RunLayout(only(store).folder))
        assert isinstance(order, ImportOrder)
        assert order.base == str(tiny_base)
