"""What a tool would refuse is said before the export, with what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.core.jobs.orders import ExportOrder
from studio.core.jobs.remedies import REMEDIES, apply_remedy
from studio.core.runs.layout import RunLayout
from studio.engine.export.lint import check_all, check_export, load_case
from studio.engine.jobs import export
from tests.engine.export.test_gguf_lora import train_adapter
from tests.engine.export.test_seen_base import _train
from tests.engine.export.tiny_families import build_family
from tests.engine.tiny_run import ScriptedControl, build_base


@pytest.mark.parametrize(
    ("settings", "target", "tool", "code", "remedy"),
    [
        ({"rank": 32}, "adapter", "vllm", "rank_above_default", "shrink_rank"),
        ({"rank": 600}, "adapter", "vllm", "rank_too_large", "shrink_rank"),
        ({"variant": "dora"}, "adapter", "vllm", "dora", "merge"),
        ({}, "gguf", "vllm", "wrong_format", "merge"),
        ({"targets": ("embed_tokens",)}, "gguf_lora", "llama.cpp", "adapter_unsupported",
         "export_merged_gguf"),
        ({"variant": "dora"}, "gguf_lora", "llama.cpp", "adapter_unsupported",
         "export_merged_gguf"),
        ({}, "merged", "llama.cpp", "wrong_format", "export_merged_gguf"),
        ({}, "adapter", "ollama", "adapter", "export_ollama"),
        ({}, "merged", "ollama", "wrong_format", "export_ollama"),
        ({}, "gguf", "ollama", "no_modelfile", "export_ollama"),
        ({}, "gguf_lora", "lm_studio", "adapter", "export_merged_gguf"),
        ({}, "merged", "peft", "wrong_format", "export_adapter"),
        ({"rank": "full"}, "adapter", "peft", "no_low_rank", "merge"),
    ],
)  # fmt: skip
def test_each_planted_case_is_found(
    settings: dict[str, Any], target: Any, tool: Any, code: str, remedy: str, tmp_path: Path
) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    settings = {"targets": ("q_proj", "v_proj")} | settings
    train_adapter(build_family(base, "llama"), base, adapter, **settings)
    (finding,) = check_export(base, adapter, target, tool)
    assert (finding.code, finding.remedies[0]) == (code, remedy)
    assert finding.message.endswith(".")
    assert finding.advice
    assert all(name in REMEDIES for name in finding.remedies)


@pytest.mark.parametrize(
    ("target", "tool"),
    [
        ("adapter", "vllm"),
        ("merged", "vllm"),
        ("adapter", "peft"),
        ("gguf", "llama.cpp"),
        ("gguf_lora", "llama.cpp"),
        ("ollama", "ollama"),
        ("gguf", "lm_studio"),
    ],
)
def test_nothing_is_said_where_nothing_is_wrong(target: Any, tool: Any, tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    train_adapter(build_family(base, "llama"), base, adapter)
    assert check_export(base, adapter, target, tool) == []


def test_a_model_that_llama_cpp_computes_differently_is_found(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    train_adapter(build_family(base, "llama", hidden_act="relu"), base, adapter)
    (finding,) = check_export(base, adapter, "gguf", "llama.cpp")
    assert finding.code == "model_unsupported"
    assert "activation relu" in finding.message


def test_loftq_is_told_before_a_merge_with_a_remedy_that_settles_it(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base", hidden_size=64, intermediate_size=128)
    loftq = _train(base, tmp_path / "loftq", "nf4", "loftq")
    plain = _train(base, tmp_path / "plain", "nf4")
    (finding,) = check_export(base, loftq, "merged", "vllm")
    assert finding.code == "loftq"
    assert (finding.is_fatal, finding.is_general) == (True, True)
    assert finding.remedies == ("merge_dequantised",)
    assert "4 bits (NF4)" in finding.message
    order = ExportOrder(adapter=str(loftq), target="merged", out=str(tmp_path / "out"))
    mended = apply_remedy(order, "merge_dequantised")
    assert mended.onto == "dequantised"
    assert check_export(base, loftq, "merged", "vllm", mended.onto) == []
    list(export.run(mended, RunLayout(tmp_path / "out"), ScriptedControl(RunLayout(tmp_path))))
    assert (tmp_path / "out" / "model.safetensors").is_file()
    (alone,) = check_export(base, loftq, "adapter", "peft")
    assert (alone.is_fatal, alone.remedies) == (False, ("merge_as_trained",))
    whole = apply_remedy(order.model_copy(update={"target": "adapter"}), alone.remedies[0])
    assert (whole.target, whole.onto) == ("merged", "dequantised")
    assert {one.target for one in check_all(load_case(base, loftq)) if one.code == "loftq"} >= {
        "adapter", "merged", "gguf", "gguf_lora", "ollama"
    }  # fmt: skip
    assert check_export(base, plain, "merged", "vllm") == []
    assert load_case(base, plain).quantisation == "nf4"
