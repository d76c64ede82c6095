"""Bases are quantised while they are read, or come quantised from their files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from studio.core.errors import ModelUnusable, NotAvailableYet
from studio.core.weights.quantisable import is_quantisable
from studio.engine.held.layer import QuantisedLayer, find_quantisation
from studio.engine.models.load import load_model
from studio.engine.models.quantised import measure_quantised
from studio.engine.quant import nf4
from tests.engine.lora.tiny_models import build_batch, build_model
from tests.engine.quant.bitsandbytes_referee import load_bitsandbytes
from tests.engine.quant.tiny_quantised import quantise_model, unfold_into

CPU = torch.device("cpu")
# bitsandbytes 0.50 unfolds widths that are odd multiples of 32 wrongly on processors
WIDE = {"hidden_size": 64, "intermediate_size": 128}
FAMILIES = ["llama", "gemma3", "gpt_neox", "gpt2"]


def _write(folder: Path, family: str = "llama", **changes: Any) -> Path:
    sizes = {"n_embd": 64} if family == "gpt2" else WIDE
    build_model(family, **sizes | changes).save_pretrained(folder)
    return folder


def _compute(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=build_batch(rows=2)).logits
    return logits


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_read_in_few_bits_computes_with_the_unfolded_weights(
    family: str, kind: str, tmp_path: Path
) -> None:
    folder = _write(tmp_path / "base", family)
    model = load_model(folder, torch.float32, CPU, quantisation=kind)
    dense = load_model(folder, torch.float32, CPU)
    assert type(model) is type(dense)
    assert find_quantisation(model) == kind
    assert not any(parameter.requires_grad for parameter in model.parameters())
    difference = (_compute(dense) - _compute(model)).abs().max()
    assert 0 < float(difference) < 1.0
    expected = _compute(unfold_into(dense, model))
    torch.testing.assert_close(_compute(model), expected, rtol=0, atol=1e-5)


def test_weights_are_rounded_only_once_whatever_format_is_computed_in(tmp_path: Path) -> None:
    folder = _write(tmp_path / "base")
    model = load_model(folder, torch.bfloat16, CPU, quantisation="nf4")
    stored = load_file(folder / "model.safetensors")
    layer = model.get_submodule("model.layers.0.mlp.up_proj")
    assert isinstance(layer, QuantisedLayer)
    expected = nf4.quantise(stored["model.layers.0.mlp.up_proj.weight"])
    assert torch.equal(layer.weight, expected.codes)
    assert layer.compute_dtype == model.dtype == torch.bfloat16


def test_heads_embeddings_and_what_is_named_stay_as_they_are(tmp_path: Path) -> None:
    folder = _write(tmp_path / "base")
    model = load_model(folder, torch.float32, CPU, quantisation="nf4", keeps=("*.1.mlp", "o_proj"))
    held = {name for name, part in model.named_modules() if isinstance(part, QuantisedLayer)}
    assert held == {
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.k_proj",
        "model.layers.0.self_attn.v_proj",
        "model.layers.0.mlp.gate_proj",
        "model.layers.0.mlp.up_proj",
        "model.layers.0.mlp.down_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.self_attn.k_proj",
        "model.layers.1.self_attn.v_proj",
    }
    found = measure_quantised(model)
    assert found is not None
    assert found.layers == 9
    assert found.dense_bytes == 4 * found.weights
    assert measure_quantised(load_model(folder, torch.float32, CPU)) is None


def test_the_rule_leaves_out_what_must_be_exact_or_saves_nothing() -> None:
    assert is_quantisable("model.layers.3.mlp.gate_proj", (64, 48))
    assert is_quantisable("transformer.h.0.attn.c_attn", (64, 192))
    for name in (
        "lm_head",
        "model.embed_tokens",
        "model.layers.3.mlp.gate",
        "model.layers.3.block_sparse_moe.gate",
        "model.layers.3.feed_forward.router",
        "model.layers.3.mlp.router.classifier",
        "score",
    ):
        assert not is_quantisable(name, (64, 48)), name
    assert not is_quantisable("model.layers.3.mlp.shared_expert_gate", (1, 64))
    assert is_quantisable("model.layers.3.mlp.experts.7.up_proj", (64, 48))
    assert is_quantisable("model.layers.3.mlp.experts.down_proj", (4, 64, 48))
    assert not is_quantisable("model.layers.3.mlp.experts.down_proj", (64, 48))
    assert not is_quantisable("model.layers.3.mlp.experts.gate_up_proj", (64, 64, 8))


def test_an_unknown_quantisation_and_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path / "base")
    with pytest.raises(NotAvailableYet, match="nf3"):
        load_model(folder, torch.float32, CPU, quantisation="nf3")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnusable, match=r"1 tensors .*up_proj"):
        load_model(folder, torch.float32, CPU, quantisation="nf4")


def _store(folder: Path, source: Path, bits: int, **settings: Any) -> Path:
    """Writes ``source`` as transformers and bitsandbytes store it in few bits."""
    load_bitsandbytes()
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=bits == 4, load_in_8bit=bits == 8, **settings
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source,
        quantization_config=config,
        dtype=torch.float32,
        device_map={"": "cpu"},
        trust_remote_code=False,
    )
    model.save_pretrained(folder)
    return folder


@pytest.mark.referee
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "settings",
    [
        {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
        {"bnb_4bit_quant_type": "nf4"},
        {"bnb_4bit_quant_type": "fp4"},
    ],
    ids=["nested", "plain", "fp4"],
)
def test_models_stored_in_four_bits_are_read_as_bitsandbytes_reads_them(
    settings: dict[str, Any], family: str, tmp_path: Path
) -> None:
    functional = load_bitsandbytes().functional
    folder = _store(tmp_path / "few", _write(tmp_path / "base", family), 4, **settings)
    model = load_model(folder, torch.float32, CPU)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        folder, device_map={"": "cpu"}, trust_remote_code=False
    )
    count = 0
    for name, module in model.named_modules():
        if isinstance(module, QuantisedLayer):
            weight = theirs.get_submodule(name).weight
            expected = functional.dequantize_4bit(weight.data, weight.quant_state).float()
            assert torch.equal(module.frozen.get_weight(), expected), name
            count += 1
    assert count >= 8
    torch.testing.assert_close(_compute(model), _compute(theirs).float(), rtol=0, atol=2e-2)


@pytest.mark.referee
def test_models_stored_in_eight_bits_are_read_as_well(tmp_path: Path) -> None:
    base = _write(tmp_path / "base")
    folder = _store(tmp_path / "few", base, 8)
    model = load_model(folder, torch.float32, CPU)
    tensors = load_file(folder / "model.safetensors")
    assert find_quantisation(model) == "int8"
    for name, module in model.named_modules():
        if isinstance(module, QuantisedLayer):
            scales = tensors[f"{name}.SCB"][:, None] / 127
            expected = tensors[f"{name}.weight"] * scales
            assert torch.equal(module.frozen.get_weight(), expected), name
    dense = _compute(load_model(base, torch.float32, CPU))
    assert 0 < float((_compute(model) - dense).abs().max()) < 0.1


def test_other_stored_formats_are_refused_by_name(tmp_path: Path) -> None:
    folder = _write(tmp_path / "base")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnusable, match="gptq"):
        load_model(folder, torch.float32, CPU)


_CHILD = """
import json, sys, threading, time, torch
from pathlib import Path
from studio.engine.models.load import load_model
from studio.engine.held.layer import find_quantisation
from studio.engine.models.quantised import measure_quantised
from studio.engine.quant import nf4

def read(kind="RssAnon:"):  # files' pages are the system's cache, not the program's memory
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) * 1024

class Sampler(threading.Thread):
    peak, ended = 0, False
    def run(self):
        while not self.ended:
            self.peak = max(self.peak, read())
            time.sleep(0.0005)

torch.set_num_threads(1)
small, folder, kind = sys.argv[1:]
load_model(Path(small), torch.float32, torch.device("cpu"), quantisation=kind)
before, files = read(), read("RssFile:")
sampler = Sampler(daemon=True)
sampler.start()
model = load_model(Path(folder), torch.float32, torch.device("cpu"), quantisation=kind)
sampler.ended = True
sampler.join()
found = measure_quantised(model)
rest = sum(p.numel() * p.element_size() for p in model.parameters() if p.is_floating_point())
print(json.dumps({"peak": sampler.peak - before, "held": found.held_bytes + rest,
                  "dense": found.dense_bytes + rest, "files": read("RssFile:") - files}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells memory from file cache")
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_reading_takes_the_quantised_size_and_one_layer(kind: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12}
    folder = _write(tmp_path / "base", **sizes)
    small = _write(tmp_path / "small")
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(small), str(folder), kind],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout.splitlines()[-1])
    one_layer = 4 * 512 * 2048
    assert found["peak"] <= found["held"] + one_layer + (4 << 20)  # 4 MB for all that is small
    assert found["peak"] < found["dense"] / 3
    assert found["files"] < 4 << 20  # nothing holds on to the file that was read


def test_a_quantised_model_in_memory_equals_the_one_that_was_read(tmp_path: Path) -> None:
    folder = _write(tmp_path / "base")
    loaded = load_model(folder, torch.float32, CPU, quantisation="int8")
    made = quantise_model(load_model(folder, torch.float32, CPU), "int8")
    assert torch.equal(_compute(loaded), _compute(made))
    shutil.rmtree(folder)
    assert torch.equal(_compute(loaded), _compute(made))
