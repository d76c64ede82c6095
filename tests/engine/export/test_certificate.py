"""The certificate passes what is right and names each planted fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.errors import ModelUnusable
from studio.core.jobs.orders import ExportOrder
from studio.engine.export import certify as certify_module
from studio.engine.export import check_gguf
from studio.engine.export.certificate import Certificate, write_certificate
from studio.engine.export.certify import Exported, certify
from studio.engine.export.gguf import model as gguf_model
from studio.engine.export.gguf.lora import export_lora_gguf
from studio.engine.export.gguf.model import export_gguf, plan_gguf
from studio.engine.export.gguf.read import GgufContent, GgufTokenizer, load_gguf_model
from studio.engine.models.files import load_tokenizer
from tests.engine.export.test_gguf_lora import train_adapter
from tests.engine.export.test_gguf_model import answer, write_file
from tests.engine.export.tiny_families import FAMILIES, build_family

_TEXTS = ("Hello world, it's 12345!", "  two  spaces\n\n", "Grüße 你好 🙂", "<assistant>x<end>")


def _finish(steps: Any) -> tuple[str, ...]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            files: tuple[str, ...] = end.value
            return files


def _prepare(folder: Path, family: str = "llama") -> tuple[Path, Path]:
    model = build_family(folder / "base", family)
    train_adapter(model, folder / "base", folder / "adapter")
    return folder / "base", folder / "adapter"


def _export(folder: Path, quant: str = "f16") -> Exported:
    base, adapter = folder / "base", folder / "adapter"
    order = ExportOrder.model_validate(
        {"adapter": str(adapter), "target": "gguf", "out": str(folder / "out"), "quant": quant}
    )
    files = _finish(export_gguf(plan_gguf(base, adapter, quant), folder / "out"))
    return Exported(order, base, folder / "out", files)


def _certify(exported: Exported) -> Certificate:
    return certify(exported, lambda: None)


@pytest.fixture(params=["llama.cpp", "own"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "own":
        monkeypatch.setattr(check_gguf, "has_llama_cpp", lambda: False)
    else:
        pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    return str(request.param)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_read_back_is_the_model_it_was_made_from(family: str, tmp_path: Path) -> None:
    model = build_family(tmp_path / "base", family)
    path = write_file(tmp_path / "base", tmp_path / "out", "f32")
    again = load_gguf_model(GgufContent(path), tmp_path / "base")
    ids = list(range(30, 60))
    assert abs(answer(again, ids) - answer(model, ids)).max() < 1e-5


@pytest.mark.parametrize("quant", ["f32", "f16", "q8_0", "q4_0"])
def test_a_right_file_is_verified(quant: str, engine: str, tmp_path: Path) -> None:
    _prepare(tmp_path)
    certificate = _certify(_export(tmp_path, quant))
    assert certificate.reasons == ()
    assert certificate.is_verified
    assert ("llama.cpp" in certificate.engine) == (engine == "llama.cpp")
    assert len(certificate.verdicts) >= 5
    assert all(one.is_prompt_equal and one.tokens > 0 for one in certificate.verdicts)
    content = json.loads(write_certificate(certificate, tmp_path).read_text())
    assert content["verified"] is True
    assert set(content["inputs"]) == {"base", "adapter", "prompts"}
    assert all(value.startswith("sha256:") for value in content["files"].values())


def test_one_tensor_that_is_off_is_named(engine: str, tmp_path: Path) -> None:
    _prepare(tmp_path)
    exported = _export(tmp_path, "f16")
    path = exported.folder / exported.files[0]
    tensor = GgufContent(path).tensors["blk.1.ffn_up.weight"]
    with path.open("r+b") as stream:
        stream.seek(int(tensor.data_offset))
        stream.write(tensor.data.copy().reshape(-1)[::-1].tobytes())
    certificate = _certify(exported)
    assert not certificate.is_verified
    assert any("blk.1.ffn_up.weight" in reason for reason in certificate.reasons)


def test_the_base_without_its_adapter_is_not_verified(engine: str, tmp_path: Path) -> None:
    base, adapter = _prepare(tmp_path)
    order = ExportOrder(adapter=str(adapter), target="gguf", out=str(tmp_path), quant="q8_0")
    files = _finish(export_gguf(plan_gguf(base, None, "q8_0"), tmp_path / "out"))
    certificate = _certify(Exported(order, base, tmp_path / "out", files))
    assert any("the answers differ" in reason for reason in certificate.reasons)


def test_another_template_and_a_missing_stop_are_named(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter = _prepare(tmp_path)
    right = plan_gguf(base, adapter, "f16")
    marks = {name: index for name, index in right.vocabulary.marks.items() if name != "eos"}
    template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    words = gguf_model.replace(right.vocabulary, marks=marks, chat_template=template)
    files = _finish(export_gguf(gguf_model.replace(right, vocabulary=words), tmp_path / "out"))
    order = ExportOrder(adapter=str(adapter), target="gguf", out=str(tmp_path), quant="f16")
    certificate = _certify(Exported(order, base, tmp_path / "out", files))
    assert any("another chat template" in reason for reason in certificate.reasons)
    assert any("other tokens than in training" in reason for reason in certificate.reasons)
    assert any("<end>" in reason and "stop" in reason for reason in certificate.reasons)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_adapter_file_is_read_back_onto_its_base(family: str, tmp_path: Path) -> None:
    base, adapter = _prepare(tmp_path, family)
    files = _finish(export_lora_gguf(base, adapter, tmp_path / "out"))
    order = ExportOrder(adapter=str(adapter), target="gguf_lora", out=str(tmp_path / "out"))
    assert _certify(Exported(order, base, tmp_path / "out", files)).reasons == ()
    other, _ = _prepare(tmp_path / "other", family)
    train_adapter(build_family(other, family, num_hidden_layers=2), other, tmp_path / "b", rank=2)
    order = order.model_copy(update={"adapter": str(tmp_path / "b")})
    assert not _certify(Exported(order, base, tmp_path / "out", files)).is_verified


@pytest.mark.material
@pytest.mark.parametrize("name", ["models/stories260K-hf", "tokenizers/minimind"])
def test_the_tokenizer_in_a_file_cuts_as_the_original(
    name: str, material: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(material / name)
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
    build_family(tmp_path / "base", "llama tied", vocab_size=len(tokenizer), **sizes)
    for path in (tmp_path / "base").glob("token*"):
        path.unlink()
    tokenizer.save_pretrained(tmp_path / "base")
    content = GgufContent(write_file(tmp_path / "base", tmp_path / "out", "f16"))
    read = GgufTokenizer(content)
    for text in (*_TEXTS, "<s> Once</s>upon", "<|im_start|>user\nHi<|im_end|>"):
        assert read.encode(text) == tokenizer(text, add_special_tokens=False).input_ids, text


def test_a_file_that_is_cut_off_cannot_be_read_back(tmp_path: Path) -> None:
    build_family(tmp_path / "base", "llama")
    path = write_file(tmp_path / "base", tmp_path / "out", "f16")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelUnusable, match="read back"):
        GgufContent(path)


def test_the_check_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare(tmp_path)
    exported = _export(tmp_path)

    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        certify_module.certify(exported, stop)
    assert torch.is_grad_enabled()
