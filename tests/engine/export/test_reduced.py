"""An adapter made smaller for a tool is the closest one of that rank, and says what it lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import nn

from studio.core.errors import AdapterUnusable
from studio.core.events.types import ExportFinished, NoticeRaised
from studio.core.jobs.orders import ExportOrder
from studio.core.jobs.remedies import WHOLE_RANK, apply_remedy
from studio.core.runs.layout import RunLayout
from studio.engine.export.lint import check_export
from studio.engine.export.reduced import measure_losses, write_reduced
from studio.engine.jobs import check_export as check_job
from studio.engine.jobs import export
from studio.engine.lora.stored import read_adapter
from tests.engine.export.test_gguf_lora import train_adapter
from tests.engine.export.tiny_families import build_family
from tests.engine.tiny_run import ScriptedControl, of_type

IDS = torch.arange(40, 56).unsqueeze(0)
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning", "ignore:Setting `save_emb:UserWarning"
)

Make = Callable[..., tuple[Path, Path]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(**settings: Any) -> tuple[Path, Path]:
        base, adapter = tmp_path / "base", tmp_path / "adapter"
        train_adapter(build_family(base, "llama"), base, adapter, **settings)
        return base, adapter

    return make


def train_with_peft(folder: Path, **settings: Any) -> tuple[Path, Path]:
    """Returns a base and an adapter with random weights that peft made."""
    base, adapter = folder / "base", folder / "adapter"
    settings = {"target_modules": ["q_proj"]} | settings
    config = peft.LoraConfig(r=4, init_lora_weights=False, **settings)
    peft.get_peft_model(build_family(base, "llama"), config).save_pretrained(adapter)
    return base, adapter


def compute(base: Path, adapter: Path) -> torch.Tensor:
    """Returns the logits that peft computes."""
    model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
        base, local_files_only=True, trust_remote_code=False, dtype=torch.float32
    )
    with torch.no_grad():
        return peft.PeftModel.from_pretrained(model, adapter).eval()(IDS).logits


def change_config(adapter: Path, **changes: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_each_layer_is_the_closest_of_that_rank(make: Make, tmp_path: Path) -> None:
    _, adapter = make(rank=8, targets=("q_proj", "down_proj"))
    reduced = write_reduced(adapter, tmp_path / "small", rank=3)
    before, after = read_adapter(adapter), read_adapter(tmp_path / "small")
    lost = whole = 0.0
    for name, module in before.modules.items():
        delta = (module.lora_b @ module.lora_a * module.scaling).double()
        left, values, right = torch.linalg.svd(delta, full_matrices=False)
        values[3:] = 0
        small = after.modules[name]
        found = (small.lora_b @ small.lora_a * small.scaling).double()
        torch.testing.assert_close(found, left * values @ right, rtol=1e-5, atol=1e-5)
        lost += float((delta - found).square().sum())
        whole += float(delta.square().sum())
    assert reduced.error_fraction == pytest.approx((lost / whole) ** 0.5, rel=1e-4)
    assert measure_losses(before)[4] < reduced.error_fraction
    assert "from rank 8 to 3" in reduced.words


def test_one_scaling_for_all_layers_changes_nothing(make: Make, tmp_path: Path) -> None:
    base, adapter = make(rank=4)
    change_config(adapter, alpha_pattern={"q_proj": 12.0})
    assert {one.code for one in check_export(base, adapter, "adapter", "vllm")} == {"mixed_scaling"}
    write_reduced(adapter, tmp_path / "even", rank=WHOLE_RANK)
    assert check_export(base, tmp_path / "even", "adapter", "vllm") == []
    config = json.loads((tmp_path / "even" / "adapter_config.json").read_text())
    assert config["alpha_pattern"] == config["rank_pattern"]
    torch.testing.assert_close(
        compute(base, tmp_path / "even"), compute(base, adapter), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("settings", "target", "tool", "code", "remedy"),
    [
        ({"modules_to_save": ["norm"]}, "adapter", "vllm", "whole_modules", "drop_whole_modules"),
        ({"trainable_token_indices": [5, 9]}, "adapter", "vllm", "tokens", "drop_tokens"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "gguf_lora", "llama.cpp",
         "adapter_unsupported", "drop_input_table"),
    ],
)  # fmt: skip
def test_what_the_tool_refuses_can_be_left_out(
    settings: dict[str, Any], target: Any, tool: Any, code: str, remedy: str, tmp_path: Path
) -> None:  # fmt: skip
    base, adapter = train_with_peft(tmp_path, **settings)
    (finding,) = check_export(base, adapter, target, tool)
    assert finding.code == code
    assert remedy in finding.remedies
    order = ExportOrder(adapter=str(adapter), target=target, out="x")
    drops = apply_remedy(order, remedy).drops
    write_reduced(adapter, tmp_path / "rest", drops=drops)
    assert check_export(base, tmp_path / "rest", target, tool) == []
    compute(base, tmp_path / "rest")


def test_an_adapter_for_a_newer_peft_is_told(tmp_path: Path) -> None:
    base, adapter = train_with_peft(tmp_path, trainable_token_indices=[5, 9])
    (finding,) = check_export(base, adapter, "adapter", "peft")
    assert finding.code == "peft_version"
    assert "0.15" in finding.message
    assert not finding.is_fatal


def test_an_export_with_a_lower_rank_says_what_it_costs(make: Make, tmp_path: Path) -> None:
    base, adapter = make(rank=24, targets=("q_proj", "v_proj"))
    asked = ExportOrder(adapter=str(adapter), base=str(base), target="adapter", out="x")
    order = apply_remedy(asked, "shrink_rank").model_copy(update={"out": str(tmp_path / "out")})
    (tmp_path / "job").mkdir()
    layout = RunLayout(tmp_path / "job")
    events = list(export.run(order, layout, ScriptedControl(layout)))
    (finished,) = of_type(events, ExportFinished)
    assert finished.is_verified
    told = [notice.message for notice in of_type(events, NoticeRaised)]
    assert any("shrunk from rank 24 to 16" in text for text in told)
    assert any("nats per token" in text for text in told)
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == 16


def test_what_cannot_be_shrunk_or_would_be_empty_is_refused(make: Make, tmp_path: Path) -> None:
    _, adapter = make(variant="dora", targets=("q_proj",))
    with pytest.raises(AdapterUnusable, match="cannot be lowered: it learns the lengths"):
        write_reduced(adapter, tmp_path / "x", rank=2)
    assert measure_losses(read_adapter(adapter)) == {}


def test_nothing_left_is_refused(make: Make, tmp_path: Path) -> None:
    _, adapter = make(targets=("embed_tokens",))
    with pytest.raises(AdapterUnusable, match="Nothing would be left"):
        write_reduced(adapter, tmp_path / "x", drops=("input_table",))


def test_all_tools_are_checked_at_once(make: Make, tmp_path: Path) -> None:
    base, adapter = make(rank=24, targets=("q_proj", "v_proj"))
    order = check_job.CheckExportOrder(adapter=str(adapter), base=str(base))
    layout = RunLayout(tmp_path)
    (checked,) = of_type(
        list(check_job.run(order, layout, ScriptedControl(layout))), check_job.ExportChecked
    )
    assert [one.code for one in checked.findings] == ["rank_above_default"]
    assert checked.findings[0].remedies == ("shrink_rank", "merge")
    assert checked.rank == 24
    assert sorted(checked.losses) == [4, 8, 16]
    assert checked.losses[4] > checked.losses[8] > checked.losses[16] > 0
