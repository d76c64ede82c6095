"""A merged folder loads with transformers and answers as base and adapter do together."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from studio.core.errors import AdapterUnusable, DiskFull, FileUnusable, ModelUnusable
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.engine.export import merged, shards
from studio.engine.export.adapter import export_adapter
from studio.engine.export.merged import export_merged
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.tiny_models import build_batch, build_model

CASES: dict[str, tuple[str, object, dict[str, object]]] = {
    "llama": ("llama", "all-linear", {}),
    "qwen3 tied": ("qwen3", "all-linear", {"tie_word_embeddings": True}),
    "gpt2": ("gpt2", "all-linear", {}),
    "gemma3": ("gemma3", ("q_proj", "embed_tokens"), {}),
    "gpt2 tied, input table": ("gpt2", ("c_attn", "wte"), {}),
    "llama tied, input table": ("llama", ("embed_tokens",), {"tie_word_embeddings": True}),
    "llama tied, output head": ("llama", ("lm_head",), {"tie_word_embeddings": True}),
    "llama tied, both": ("llama", ("lm_head", "embed_tokens"), {"tie_word_embeddings": True}),
}


def _perturb(adapter: Adapter) -> None:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def _prepare(
    folder: Path, case: str, *, dtype: torch.dtype = torch.float32, shard_size: str = "5GB"
) -> tuple[nn.Module, Path, Path]:
    """Returns a model with an adapter on it, and the folders of its base and its adapter."""
    family, targets, changes = CASES[case]
    model = build_model(family, dtype=dtype, **changes).eval()
    model.save_pretrained(folder / "base", max_shard_size=shard_size)
    settings = (
        AdapterSettings(
            rank=4, alpha=6.0, targets=targets, overrides=(AdapterOverride(match="*1*", rank=2),)
        )
        if targets == "all-linear"
        else AdapterSettings(rank=4, alpha=6.0, targets=targets)
    )
    adapter = inject(model, settings, seed=0)
    _perturb(adapter)
    save_adapter(adapter, folder / "adapter", base_model=str(folder / "base"))
    return model, folder / "base", folder / "adapter"


def _export(base: Path, adapter: Path, target: Path) -> tuple[tuple[str, ...], list[int]]:
    progress, stream = [], export_merged(base, adapter, target)
    while True:
        try:
            progress.append(next(stream).done_bytes)
        except StopIteration as end:
            return end.value, progress


def _load(folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, trust_remote_code=False, use_safetensors=True
    )
    return model.eval()


@pytest.mark.parametrize("shard_size", ["5GB", "20KB"])
@pytest.mark.parametrize("case", CASES)
def test_merged_logits_equal_unmerged_ones(case: str, shard_size: str, tmp_path: Path) -> None:
    model, base, adapter = _prepare(tmp_path, case, shard_size=shard_size)
    names, progress = _export(base, adapter, tmp_path / "merged")
    ids = build_batch()
    with torch.no_grad():
        expected, found = model(input_ids=ids).logits, _load(tmp_path / "merged")(ids).logits
        plain = _load(base)(ids).logits
    assert (found - expected).abs().max() < 1e-5
    assert (plain - expected).abs().max() > 1e-2
    assert progress[-1] == max(progress) > 0
    assert set(names) == {path.name for path in (tmp_path / "merged").iterdir()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base", "merged"]


def test_each_changed_weight_is_rounded_once_and_the_rest_is_copied(tmp_path: Path) -> None:
    model, base, adapter = _prepare(tmp_path, "gpt2", dtype=torch.bfloat16)
    _export(base, adapter, tmp_path / "merged")
    before, after = _load(base, torch.bfloat16), _load(tmp_path / "merged", torch.bfloat16)
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    adapted = {name.removesuffix(".lora_A") for name, _ in model.named_parameters() if "A" in name}
    for name in old:
        module = name.removesuffix(".weight")
        if module in adapted:
            wrapped = model.get_submodule(module)
            update = wrapped.lora_B.double() @ wrapped.lora_A.double() * wrapped.scaling
            exact = old[name].double() + update.t()
            # bfloat16 keeps 8 bits, so one rounding is off by half of the last of them; where the
            # two parts cancel, the fp32 sum is off by 1e-7 at most
            bound = 2.0 ** (exact.abs().log2().floor() - 8) + 1e-7
            assert ((new[name].double() - exact).abs() <= bound).all()
            assert not torch.equal(new[name], old[name])
        else:
            assert torch.equal(new[name], old[name])


def test_a_large_matrix_is_merged_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "BLOCK_BYTES", 500)
    monkeypatch.setattr(merged, "BLOCK_BYTES", 500)
    model, base, adapter = _prepare(tmp_path, "gpt2 tied, input table")
    _, progress = _export(base, adapter, tmp_path / "merged")
    assert len(progress) > 20
    assert progress == sorted(progress)
    ids = build_batch()
    with torch.no_grad():
        difference = _load(tmp_path / "merged")(ids).logits - model(input_ids=ids).logits
    assert difference.abs().max() < 1e-5


def test_the_index_is_the_one_that_transformers_wrote(tmp_path: Path) -> None:
    _, base, adapter = _prepare(tmp_path, "llama", shard_size="20KB")
    _export(base, adapter, tmp_path / "merged")
    index = "model.safetensors.index.json"
    assert json.loads((tmp_path / "merged" / index).read_text()) == json.loads(
        (base / index).read_text()
    )


def test_small_files_are_copied_byte_by_byte_and_code_is_not(tmp_path: Path) -> None:
    _, base, adapter = _prepare(tmp_path, "llama")
    (base / "chat_template.jinja").write_bytes(b"{{ messages }}\r\n")
    (base / "tokenizer.json").write_text("{ }")
    (base / "LICENSE").write_text("free")
    (base / "modeling_own.py").write_text("raise SystemExit")
    (base / "pytorch_model.bin").write_text("pickle")
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    names, _ = _export(base, adapter, tmp_path / "merged")
    for name in ("chat_template.jinja", "tokenizer.json", "LICENSE", "config.json",
                 "generation_config.json", "additional_chat_templates/tools.jinja"):  # fmt: skip
        assert (tmp_path / "merged" / name).read_bytes() == (base / name).read_bytes()
        assert name in names
    assert not any(name.endswith((".py", ".bin")) for name in names)


def test_a_file_without_the_models_prefix_is_understood(tmp_path: Path) -> None:
    """GPT-2's own files on the hub name ``h.0.…`` what the model calls ``transformer.h.0.…``."""
    model = build_model("gpt2").eval()
    model.transformer.save_pretrained(tmp_path / "base")
    settings = AdapterSettings(rank=4, alpha=6.0, targets=("c_attn", "wte"))
    adapter = inject(model, settings, seed=0)
    _perturb(adapter)
    save_adapter(adapter, tmp_path / "adapter", base_model="gpt2")
    _export(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    ids = build_batch()
    with torch.no_grad():
        difference = _load(tmp_path / "merged")(ids).logits - model(input_ids=ids).logits
    assert difference.abs().max() < 1e-5


def test_stopping_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged, "BLOCK_BYTES", 500)
    _, base, adapter = _prepare(tmp_path, "llama")
    stream = export_merged(base, adapter, tmp_path / "merged")
    next(stream)
    stream.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_a_full_disk_is_noticed_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, base, adapter = _prepare(tmp_path, "llama")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DiskFull, match="are needed"):
        _export(base, adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_folder_that_holds_something_is_never_written_into(tmp_path: Path) -> None:
    _, base, adapter = _prepare(tmp_path, "llama")
    for target in (base, adapter / "adapter_config.json"):
        with pytest.raises(FileUnusable, match="not empty"):
            _export(base, adapter, target)
    (tmp_path / "empty").mkdir()
    assert _export(base, adapter, tmp_path / "empty")[0]


def test_another_base_and_a_quantised_one_are_refused_by_name(tmp_path: Path) -> None:
    _, base, adapter = _prepare(tmp_path, "llama")
    build_model("gpt2").save_pretrained(tmp_path / "other")
    build_model("llama", hidden_size=64).save_pretrained(tmp_path / "wider")
    with pytest.raises(AdapterUnusable, match="no layer"):
        _export(tmp_path / "other", adapter, tmp_path / "merged")
    with pytest.raises(AdapterUnusable, match="does not fit"):
        _export(tmp_path / "wider", adapter, tmp_path / "merged")
    path = base / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"F32"', b'"I32"'))
    with pytest.raises(ModelUnusable, match="stored as I32"):
        _export(base, adapter, tmp_path / "merged")
    path.write_bytes(content[:-100])
    with pytest.raises(ModelUnusable, match="cut off"):
        _export(base, adapter, tmp_path / "merged")
    path.write_bytes(struct.pack("<Q", 2**60) + content[8:])
    with pytest.raises(ModelUnusable, match="does not start as a safetensors file"):
        _export(base, adapter, tmp_path / "merged")


def test_an_index_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    _, base, adapter = _prepare(tmp_path, "llama", shard_size="20KB")
    index = base / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["lm_head.weight"] = "../adapter/adapter_model.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(ModelUnusable, match="no safetensors file beside it"):
        _export(base, adapter, tmp_path / "merged")


def test_values_too_large_for_the_format_are_refused(tmp_path: Path) -> None:
    _, base, adapter = _prepare(tmp_path, "llama", dtype=torch.float16)
    huge = load_adapter(build_model("llama"), adapter)
    for parameter in huge.parameters():
        parameter.data.fill_(1e4)
    save_adapter(huge, tmp_path / "huge", base_model="x")
    with pytest.raises(ModelUnusable, match="too large for the number format"):
        _export(base, tmp_path / "huge", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_exported_adapter_is_complete_and_loads(tmp_path: Path) -> None:
    model, _, adapter = _prepare(tmp_path, "llama")
    (adapter / "tokenizer.json").write_text("{}")
    events = list(export_adapter(adapter, tmp_path / "out"))
    assert events[-1].done_bytes == events[-1].total_bytes
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"
    }  # fmt: skip
    other = build_model("llama").eval()
    load_adapter(other, tmp_path / "out")
    ids = build_batch()
    assert torch.equal(other(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_table_that_peft_saved_along_is_accepted_only_unchanged(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = build_model("llama").eval()
    model.save_pretrained(tmp_path / "base")
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "embed_tokens"], init_lora_weights=False
    )
    reference = peft.get_peft_model(model, config).eval()
    reference.save_pretrained(tmp_path / "adapter")
    _export(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    ids = build_batch()
    with torch.no_grad():
        difference = _load(tmp_path / "merged")(ids).logits - reference(input_ids=ids).logits
    assert difference.abs().max() < 1e-5

    path = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    (table,) = (name for name in tensors if "embed_tokens" in name and "lora" not in name)
    tensors[table].add_(1.0)
    save_file(tensors, path)
    with pytest.raises(AdapterUnusable, match="replaces the whole of"):
        _export(tmp_path / "base", tmp_path / "adapter", tmp_path / "again")


def test_an_adapter_for_another_type_of_layer_is_refused(tmp_path: Path) -> None:
    _, base, _ = _prepare(tmp_path, "llama")
    inject_model = build_model("llama", vocab_size=32)
    table = inject(inject_model, AdapterSettings(rank=2, targets=("embed_tokens",)), seed=0)
    save_adapter(table, tmp_path / "table", base_model="x")
    path = tmp_path / "table" / "adapter_model.safetensors"
    content = {
        name.replace("model.embed_tokens", "lm_head"): values
        for name, values in load_file(path).items()
    }
    save_file(content, path)
    with pytest.raises(AdapterUnusable, match="another type of layer"):
        _export(base, tmp_path / "table", tmp_path / "merged")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_size_of_a_tensor(tmp_path: Path) -> None:
    """The table is 512 MB in the file and would be twice that with its update."""
    _prepare(tmp_path, "llama")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    config |= {"vocab_size": 2**22, "tie_word_embeddings": True}
    large = tmp_path / "large"
    large.mkdir()
    (large / "config.json").write_text(json.dumps(config))
    size = 2**22 * 32 * 4
    entry = {"dtype": "F32", "shape": [2**22, 32], "data_offsets": [0, size]}
    text = json.dumps({"model.embed_tokens.weight": entry}).encode()
    with (large / "model.safetensors").open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + size)
    program = f"""
import json, resource, torch
from pathlib import Path
from safetensors.torch import save_file
from studio.engine.export.merged import export_merged
folder = Path({str(tmp_path)!r})
list(export_merged(folder / "base", folder / "adapter", folder / "warm"))
adapter = folder / "table"
adapter.mkdir()
config = {{"peft_type": "LORA", "r": 1, "lora_alpha": 1}}
(adapter / "adapter_config.json").write_text(json.dumps(config))
key = "base_model.model.model.embed_tokens.lora_embedding_"
save_file({{key + "A": torch.ones(1, 2**22), key + "B": torch.ones(32, 1)}},
          adapter / "adapter_model.safetensors")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
list(export_merged(folder / "large", adapter, folder / "merged"))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    # a few blocks of 32 MiB, and the adapter's own 16 MiB
    assert int(done.stdout) < 200 * 2**20
    assert (tmp_path / "merged" / "model.safetensors").stat().st_size > 2 * size


def test_layers_that_share_weights_and_changed_apart_cannot_be_merged(tmp_path: Path) -> None:
    sizes = {"mamba_dt_rank": 4, "attention_head_dim": 16, "n_mamba_heads": 2}
    config = transformers.ZambaConfig(
        vocab_size=64, hidden_size=16, attention_hidden_size=32, num_hidden_layers=2,
        intermediate_size=32, num_attention_heads=2, num_key_value_heads=2, mamba_d_state=4,
        layers_block_type=["hybrid", "hybrid"], use_mamba_kernels=False, **sizes,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.save_pretrained(tmp_path / "base")
    adapter = inject(model, AdapterSettings(rank=2, targets=("q_proj",)), seed=0)
    assert len(adapter.modules) == 2
    save_adapter(adapter, tmp_path / "adapter", base_model="base")
    with pytest.raises(ModelUnusable, match="same weights in several layers"):
        _export(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
