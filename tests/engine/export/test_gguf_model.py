"""A GGUF file answers in llama.cpp as the model does in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from torch import nn

from studio.core.errors import DiskFull, FileUnusable, ModelUnusable, RecipeInvalid
from studio.engine.export import target
from studio.engine.export.gguf.model import export_gguf, plan_gguf
from studio.engine.export.gguf.numbers import Format
from studio.engine.models.load import load_model
from tests.engine.export.llama_referee import compute_logits, measure_error, open_model
from tests.engine.export.tiny_families import FAMILIES, build_family

_IDS = torch.randint(0, 256, (24,), generator=torch.Generator().manual_seed(3)).tolist()
# llama.cpp looks GELU up in a table of 16-bit numbers
_LOOKS_UP_GELU = ("gemma", "gpt2")


def write_file(base: Path, folder: Path, quant: str, adapter: Path | None = None) -> Path:
    """Returns the path of the GGUF file after the whole export."""
    steps = export_gguf(plan_gguf(base, adapter, quant), folder)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            (name,) = end.value
            return folder / name


def answer(model: nn.Module, ids: list[int] = _IDS) -> np.ndarray[Any, Any]:
    """Returns the logits of ``ids``, ``(tokens, vocabulary)``."""
    with torch.no_grad():
        logits: np.ndarray[Any, Any] = model(input_ids=torch.tensor([ids])).logits[0].numpy()
    return logits


class _LookedUp(nn.Module):
    """An activation whose input and output pass through 16 bits, as a table in llama.cpp does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._inner = inner

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self._inner(values.half().float()).half().float()


def _look_up_gelu(model: nn.Module) -> None:
    for module in model.modules():
        for name in ("act", "act_fn"):
            if isinstance(getattr(module, name, None), nn.Module):
                setattr(module, name, _LookedUp(getattr(module, name)))


@pytest.mark.referee
@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_computes_the_logits_of_transformers(family: str, tmp_path: Path) -> None:
    model = build_family(tmp_path / "base", family)
    path = write_file(tmp_path / "base", tmp_path / "out", "f32")
    bound = 1e-5
    if family.startswith(_LOOKS_UP_GELU):  # a value between two entries may take the other one
        _look_up_gelu(model)
        bound = 3e-4
    found = compute_logits(open_model(path), _IDS)
    assert measure_error(answer(model), found) < bound
    assert [child.name for child in (tmp_path / "out").iterdir()] == ["model-F32.gguf"]


@pytest.mark.referee
@pytest.mark.parametrize(
    ("quant", "bound"),
    [("f16", 2e-3), ("bf16", 2e-2), ("q8_0", 2e-2), ("q5_1", 0.1), ("q4_0", 0.25)],
)
def test_each_number_format_loads_with_its_usual_error(
    quant: str, bound: float, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    model = build_family(tmp_path / "base", "qwen3", **sizes)
    path = write_file(tmp_path / "base", tmp_path / "out", quant)
    error = measure_error(answer(model), compute_logits(open_model(path), _IDS))
    assert bound / 30 < error < bound


@pytest.mark.material
@pytest.mark.parametrize("quant", ["f32", "f16"])
def test_tensors_are_those_that_llama_cpp_s_converter_writes(
    quant: str, material: Path, tmp_path: Path
) -> None:
    base = material / "models" / "stories260K-hf"
    ours = gguf.GGUFReader(write_file(base, tmp_path / "out", quant))
    theirs = gguf.GGUFReader(material / "models" / "stories260K-gguf" / f"stories260K-{quant}.gguf")
    found = {tensor.name: tensor for tensor in ours.tensors}
    assert set(found) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        own = found[tensor.name]
        assert own.tensor_type == tensor.tensor_type
        assert own.shape.tolist() == tensor.shape.tolist()
        assert own.data.tobytes() == tensor.data.tobytes()
    differing = {"general.name", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"}
    for name, field in theirs.fields.items():
        if name.startswith("GGUF.") or name in differing or name.endswith("add_sep_token"):
            continue
        assert ours.fields[name].contents() == field.contents(), name


@pytest.mark.referee
def test_bases_with_values_in_other_formats_become_the_same_file(tmp_path: Path) -> None:
    build_family(tmp_path / "base", "llama")
    load_model(tmp_path / "base", torch.bfloat16, torch.device("cpu")).save_pretrained(
        tmp_path / "half", max_shard_size="30KB"
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "half" / name).write_bytes((tmp_path / "base" / name).read_bytes())
    first = gguf.GGUFReader(write_file(tmp_path / "base", tmp_path / "one", "bf16"))
    second = gguf.GGUFReader(write_file(tmp_path / "half", tmp_path / "two", "bf16"))
    wanted = {tensor.name: tensor for tensor in first.tensors}
    for tensor in second.tensors:
        if tensor.tensor_type == Format.BF16:
            assert tensor.data.tobytes() == wanted[tensor.name].data.tobytes()


def test_a_large_tensor_is_written_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_family(tmp_path / "base", "llama")
    whole = write_file(tmp_path / "base", tmp_path / "whole", "q8_0").read_bytes()
    monkeypatch.setattr("studio.engine.export.shards.BLOCK_BYTES", 3000)
    assert write_file(tmp_path / "base", tmp_path / "parts", "q8_0").read_bytes() == whole


def test_a_cancelled_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_family(tmp_path / "base", "llama")
    monkeypatch.setattr("studio.engine.export.gguf.model.BLOCK_BYTES", 1000)
    steps = export_gguf(plan_gguf(tmp_path / "base", None, "f16"), tmp_path / "out")
    assert 0 < next(steps).done_bytes < next(steps).total_bytes
    steps.close()
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_taken_folder_and_a_full_disk_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_family(tmp_path / "base", "llama")
    with pytest.raises(FileUnusable, match="not empty"):
        write_file(tmp_path / "base", tmp_path / "base", "f16")

    def refuse(folder: Path, needed_bytes: int) -> None:
        raise DiskFull(f"{needed_bytes} are needed in {folder}.", "Free some space.")

    monkeypatch.setattr(target, "check_free_space", refuse)
    with pytest.raises(DiskFull):
        write_file(tmp_path / "base", tmp_path / "out", "f16")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("llama", {"hidden_act": "relu"}, "activation relu"),
        ("llama", {"rope_parameters": {"rope_theta": 1e4, "rope_type": "dynamic", "factor": 2.0}},
         "positions of the type dynamic"),
        ("gemma2", {"query_pre_attn_scalar": 64}, "queries are scaled by 64"),
        ("smollm3", {"no_rope_layers": [1, 1, 1, 1, 0]}, "every fourth"),
        ("qwen3_moe", {"norm_topk_prob": False}, "experts"),
        ("gemma3", {"layer_types": ["full_attention"] * 7}, "6th"),
    ],
)  # fmt: skip
def test_what_llama_cpp_would_compute_differently_is_refused(
    family: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    build_family(tmp_path / "base", family, **changes)
    with pytest.raises(ModelUnusable, match=words):
        write_file(tmp_path / "base", tmp_path / "out", "f16")


def test_unknown_families_and_formats_are_refused_by_name(tmp_path: Path) -> None:
    base = tmp_path / "base"
    build_family(base, "llama")
    with pytest.raises(RecipeInvalid, match="q3_k"):
        write_file(base, tmp_path / "out", "q3_k")
    text = (base / "config.json").read_text()
    (base / "config.json").write_text(text.replace('"llama"', '"phi"'))
    with pytest.raises(ModelUnusable, match="type phi cannot"):
        write_file(base, tmp_path / "out", "f16")


def test_a_window_that_slides_limits_the_context(tmp_path: Path) -> None:
    build_family(tmp_path / "base", "mistral", sliding_window=128)
    file = gguf.GGUFReader(write_file(tmp_path / "base", tmp_path / "out", "f16"))
    assert file.fields["llama.context_length"].contents() == 128


def test_numbers_too_large_for_16_bits_are_refused(tmp_path: Path) -> None:
    model = build_family(tmp_path / "base", "llama")
    with torch.no_grad():
        model.lm_head.weight[0, 0] = 1e6
    model.save_pretrained(tmp_path / "base")
    with pytest.raises(ModelUnusable, match="too large for the format f16"):
        write_file(tmp_path / "base", tmp_path / "out", "f16")
    assert not (tmp_path / "out").exists()
    assert write_file(tmp_path / "base", tmp_path / "out", "bf16").is_file()
