"""Updates that leave the zeros of a pruned base alone are exact, and are the same when merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from studio.core.errors import AdapterUnusable, ModelUnusable
from studio.core.events.types import ExportFinished
from studio.core.jobs.orders import ExportOrder
from studio.core.recipe.schema import AdapterSettings
from studio.core.runs.layout import RunLayout
from studio.engine.export.lint import check_export
from studio.engine.export.merged import export_merged
from studio.engine.jobs import export
from studio.engine.lora.adapter import Adapter, build_adapted
from studio.engine.lora.blend import check_blendable
from studio.engine.lora.inject import inject
from studio.engine.lora.linear import AdaptedLinear
from studio.engine.lora.masked import masked_linear
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.lora.stored import read_adapter
from studio.engine.models.load import load_model
from studio.engine.prune.folder import prune_model
from studio.engine.quant.none import PlainLinear, TransposedLinear
from tests.engine.export.tiny_families import build_family
from tests.engine.lora.tiny_models import build_batch
from tests.engine.tiny_run import ScriptedControl, build_base, of_type

CPU = torch.device("cpu")


def _build(kind: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.Tensor]:
    """Returns a layer with zeros in it, and where its weights ``(out, in)`` are not zero."""
    torch.manual_seed(0)
    base: nn.Module = nn.Linear(5, 7) if kind == "linear" else Conv1D(7, 5)
    nn.init.normal_(base.bias)
    with torch.no_grad():
        base.weight.masked_fill_(torch.rand(base.weight.shape) < 0.5, 0.0)
    base = base.to(dtype).requires_grad_(False)
    kept = base.weight != 0
    return base, kept if kind == "linear" else kept.t()


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 5), (0, 5)])
def test_gradients_pass_gradcheck(kind: str, dropout: float, shape: tuple[int, ...]) -> None:
    base, _ = _build(kind)
    frozen = PlainLinear(base) if kind == "linear" else TransposedLinear(base)

    def compute(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return masked_linear(x, frozen, a, b, 1.7, dropout=dropout, dropout_seed=11)

    assert torch.autograd.gradcheck(compute, (_draw(*shape), _draw(3, 5), _draw(7, 3)))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_the_value_is_the_update_without_what_falls_on_zeros(kind: str) -> None:
    base, kept = _build(kind)
    frozen = PlainLinear(base) if kind == "linear" else TransposedLinear(base)
    x, a, b = _draw(4, 5), _draw(3, 5), _draw(7, 3)
    weight = base.weight if kind == "linear" else base.weight.t()
    expected = x @ (weight + kept * (1.7 * b @ a)).t() + base.bias
    torch.testing.assert_close(masked_linear(x, frozen, a, b, 1.7), expected)


def test_only_the_input_is_kept_and_recomputing_a_layer_twice_used_changes_nothing() -> None:
    base, _ = _build("linear", torch.float32)
    module = build_adapted(base, "linear", rank=3, alpha=6.0, dropout=0.5)
    assert isinstance(module, AdaptedLinear)
    module.keep_zeros()
    for parameter in (module.lora_A, module.lora_B):
        nn.init.normal_(parameter)
    module.train()
    x, back = torch.randn(4, 5, requires_grad=True), torch.randn(7, 5)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        module(x)
    own = {module.lora_A.data_ptr(), module.lora_B.data_ptr()}
    assert [t.data_ptr() for t in kept if t.data_ptr() not in own] == [x.data_ptr()]

    def twice(inputs: torch.Tensor) -> torch.Tensor:
        return module(torch.tanh(module(inputs) @ back))

    results = []
    for is_recomputed in (False, True):
        torch.manual_seed(3)
        y = checkpoint(twice, x, use_reentrant=False) if is_recomputed else twice(x)
        results.append(torch.autograd.grad(y.square().sum(), [x, module.lora_A, module.lora_B]))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bases of which two in four weights are zero, by family."""
    folder = tmp_path_factory.mktemp("sparse")
    for family in ("llama", "gpt2"):
        dense = build_base(folder / f"dense {family}", family)
        for _ in prune_model(dense, folder / family, "two_four", 0.5):
            pass
    return {family: folder / family for family in ("llama", "gpt2")}


def _train(base: Path, folder: Path, **settings: Any) -> tuple[Adapter, torch.Tensor]:
    """Writes an adapter that leaves zeros alone; returns it and what it answers."""
    model = load_model(base, torch.float32, CPU)
    chosen = AdapterSettings.model_validate({"rank": 3, "keep_zeros": True} | settings)
    adapter = inject(model, chosen, seed=0)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        logits = model.eval()(input_ids=build_batch()).logits
    save_adapter(adapter, folder, base_model=str(base))
    return adapter, logits


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {}),
        ("llama", {"variant": "rslora", "targets": ("q_proj", "down_proj", "embed_tokens")}),
        ("llama", {"variant": "dora"}),
        ("llama", {"init": "pissa"}),
        ("gpt2", {}),
        ("gpt2", {"variant": "dora"}),
    ],
    ids=str,
)
def test_merging_keeps_every_zero_and_every_answer(
    family: str, settings: dict[str, Any], bases: dict[str, Path], tmp_path: Path
) -> None:
    base, ids = bases[family], build_batch()
    _, expected = _train(base, tmp_path / "adapter", **settings)
    model = load_model(base, torch.float32, CPU)
    load_adapter(model, tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(input_ids=ids).logits, expected)
    for _ in export_merged(base, tmp_path / "adapter", tmp_path / "merged"):
        pass
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)
    before = load_file(base / "model.safetensors")
    after = load_file(tmp_path / "merged" / "model.safetensors")
    changed = 0
    for name, values in before.items():
        assert torch.equal(after[name] == 0, values == 0), name
        changed += not torch.equal(after[name], values)
    assert changed


def test_rows_of_one_batch_may_use_such_an_adapter(bases: dict[str, Path], tmp_path: Path) -> None:
    base, ids = bases["llama"], build_batch()
    _, expected = _train(base, tmp_path / "masked")
    _, plain = _train(base, tmp_path / "plain", keep_zeros=False)
    model = load_model(base, torch.float32, CPU).eval()
    stack = AdapterStack(model)
    for name in ("masked", "plain"):
        stack.load(name, tmp_path / name)
    with (
        torch.no_grad(),
        stack.rows([RowChoice("masked"), RowChoice("plain"), RowChoice("masked")]),
    ):
        found = model(input_ids=ids).logits
    wanted = torch.stack((expected[0], plain[1], expected[2]))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_other_tools_are_warned_by_the_file_and_the_user_before_the_export(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    base, folder = bases["llama"], tmp_path / "adapter"
    _, expected = _train(base, folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    with pytest.warns(UserWarning, match="keeps_zeros_of_base"):
        settings = peft.PeftConfig.from_pretrained(folder)
    theirs = peft.PeftModel.from_pretrained(model, folder, config=settings).eval()
    with torch.no_grad():
        assert not torch.allclose(theirs(input_ids=build_batch()).logits, expected, atol=1e-2)
    for tool in ("peft", "vllm"):
        finding = check_export(base, folder, "adapter", tool)[0]
        assert (finding.code, finding.remedies) == ("keeps_zeros", ("merge",))
    (finding,) = check_export(base, folder, "gguf_lora", "llama.cpp")
    assert finding.remedies == ("export_merged_gguf",)
    assert not check_export(base, folder, "merged", "vllm")
    with pytest.raises(AdapterUnusable, match="zeros of its pruned base"):
        check_blendable([read_adapter(folder)])


def test_it_is_known_from_the_settings_alone_and_an_ordinary_adapter_says_nothing(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    _train(bases["llama"], folder)
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file), file, {"format": "pt"})  # as a tool would that casts the numbers
    assert read_adapter(folder).seen.keeps_zeros
    _train(bases["llama"], tmp_path / "plain", keep_zeros=False)
    settings = json.loads((tmp_path / "plain" / "adapter_config.json").read_text())
    assert "keeps_zeros_of_base" not in settings
    assert not read_adapter(tmp_path / "plain").seen.keeps_zeros


def test_an_ordinary_adapter_goes_on_around_the_zeros_if_asked(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    _train(bases["llama"], tmp_path / "plain", keep_zeros=False)
    adapter, _ = _train(bases["llama"], tmp_path / "on", resume_from=str(tmp_path / "plain"))
    assert adapter.seen.keeps_zeros
    assert all(module.keeps_zeros for module in adapter.modules.values())


def test_a_base_in_few_bits_is_refused_in_words(tmp_path: Path) -> None:
    base = build_base(tmp_path / "wide", hidden_size=64, intermediate_size=128)
    model = load_model(base, torch.float32, CPU, quantisation="nf4")
    with pytest.raises(ModelUnusable, match="few bits"):
        inject(model, AdapterSettings(rank=2, keep_zeros=True), seed=0)


def test_a_gguf_file_answers_as_the_adapter_over_its_pruned_base(tmp_path: Path) -> None:
    dense, base, out = tmp_path / "dense", tmp_path / "base", tmp_path / "gguf"
    build_family(dense, "llama")
    for _ in prune_model(dense, base, "two_four", 0.5):
        pass
    _train(base, tmp_path / "adapter")
    order = ExportOrder(
        adapter=str(tmp_path / "adapter"), base=str(base), target="gguf", quant="f32", out=str(out)
    )
    layout = RunLayout(tmp_path / "job")
    (done,) = of_type(export.run(order, layout, ScriptedControl(layout)), ExportFinished)
    assert done.is_verified, done.reasons
