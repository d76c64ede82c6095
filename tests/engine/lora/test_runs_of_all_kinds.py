"""Every kind of adapter trains in a real run and resumes exactly; its folder merges."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from studio.core.errors import RecipeInvalid
from studio.core.events.types import Event, RunFinished, RunStopped, StepFinished
from studio.core.jobs.orders import Stop
from studio.engine.export.merged import export_merged
from studio.engine.lora.state import load_adapter
from studio.engine.models.load import load_model
from tests.engine.lora.tiny_models import build_batch
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run

KINDS: dict[str, dict[str, object]] = {
    "dora": {"variant": "dora"},
    "pissa": {"init": "pissa"},
    "pissa, approximated": {"init": "pissa_fast", "variant": "rslora"},
    "olora": {"init": "olora"},
    "head and norms in full": {"extra_modules": ["lm_head", "norm"]},
    "tokens": {"trained_tokens": ["<end>", "A"]},
    "full": {"rank": "full"},
    "attention in full": {"rank": "full", "targets": "attention"},
}
SETTINGS = {"steps": 4, "batch_sequences": 4, "learning_rate": 1e-3, "micro_batch_tokens": 60}


def _is_after_two(events: list[Event]) -> bool:
    return any(event.step == 2 for event in of_type(events, StepFinished))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_exactly_and_merges(
    kind: str, tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    adapter = {"rank": 4, "alpha": 8.0} | KINDS[kind]
    whole = build_run(tmp_path / "whole", tiny_base, tiny_chats, adapter=adapter, **SETTINGS)
    assert of_type(train_run(whole), RunFinished)

    parts = build_run(tmp_path / "parts", tiny_base, tiny_chats, adapter=adapter, **SETTINGS)
    control = ScriptedControl(parts)
    control.at(_is_after_two, Stop())
    assert of_type(train_run(parts, control), RunStopped)
    events = train_run(parts)
    assert [event.step for event in of_type(events, StepFinished)] == [3, 4]

    name = "adapter_model.safetensors"
    expected, found = load_file(whole.adapter / name), load_file(parts.adapter / name)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    list(export_merged(tiny_base, whole.adapter, tmp_path / "merged"))
    models = [
        load_model(folder, torch.float32, torch.device("cpu"))
        for folder in (tiny_base, tmp_path / "merged")
    ]
    load_adapter(models[0], whole.adapter)
    with torch.no_grad():
        adapted, merged = (model.eval()(input_ids=build_batch()).logits for model in models)
    assert (adapted - merged).abs().max() < 1e-5


def test_a_token_that_the_tokenizer_lacks_is_refused(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    adapter = {"trained_tokens": ["<nowhere>"]}
    run = build_run(tmp_path / "run", tiny_base, tiny_chats, adapter=adapter, **SETTINGS)
    with pytest.raises(RecipeInvalid, match="no token '<nowhere>'"):
        train_run(run)
