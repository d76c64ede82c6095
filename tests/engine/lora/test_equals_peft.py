"""Outputs, gradients and training curves equal those of peft to rounding."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.tiny_models import build_batch, build_model, compute_loss

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.referee,
    # peft sets fan_in_fan_out for Conv1D itself and says so; tied or targeted embeddings likewise
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`"),
    pytest.mark.filterwarnings("ignore:Could not find a config file"),
    pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),
]

CASES = {
    "llama": ("llama", "all-linear"),
    "qwen3": ("qwen3", "all-linear"),
    "gpt2": ("gpt2", "all-linear"),
    "llama embedding": ("llama", ("q_proj", "down_proj", "embed_tokens")),
    "gpt2 embedding": ("gpt2", ("c_attn", "wte")),
    "gemma3 scaled embedding": ("gemma3", ("v_proj", "embed_tokens")),
}


def _peft_of(model: nn.Module, settings: AdapterSettings) -> nn.Module:
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=targets,
        use_rslora=settings.variant == "rslora",
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def _find_layer(reference: nn.Module, name: str) -> nn.Module:
    return reference.base_model.model.get_submodule(name)


def _copy_to_peft(adapter: Adapter, reference: nn.Module) -> None:
    """Copies every matrix, and fails when peft adapts more or fewer modules than we do."""
    theirs = [
        name
        for name, module in reference.base_model.model.named_modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    ]
    assert sorted(theirs) == sorted(adapter.modules)
    with torch.no_grad():
        for name, module in adapter.modules.items():
            lora_a, lora_b = _get_pair(_find_layer(reference, name))
            lora_a.copy_(module.lora_A)
            lora_b.copy_(module.lora_B)


def _get_pair(layer: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    if "default" in layer.lora_embedding_A:
        return layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight


def _perturb(adapter: Adapter, seed: int = 5) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def _build_both(case: str, **changes: object) -> tuple[nn.Module, Adapter, nn.Module]:
    family, targets = CASES[case]
    settings = AdapterSettings(rank=4, alpha=6.0, targets=targets).model_copy(update=changes)
    model = build_model(family)
    reference = _peft_of(copy.deepcopy(model), settings)
    adapter = inject(model, settings, seed=1)
    _copy_to_peft(adapter, reference)
    return model, adapter, reference


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", ["plain", "rslora"])
def test_logits_and_gradients_equal_pefts(case: str, variant: str) -> None:
    model, adapter, reference = _build_both(case, variant=variant)
    _perturb(adapter)
    _copy_to_peft(adapter, reference)
    ids = build_batch()
    ours, theirs = model(input_ids=ids).logits, reference(input_ids=ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    compute_loss(model, ids).backward()
    compute_loss(reference, ids).backward()
    for name, module in adapter.modules.items():
        lora_a, lora_b = _get_pair(_find_layer(reference, name))
        torch.testing.assert_close(module.lora_A.grad, lora_a.grad, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(module.lora_B.grad, lora_b.grad, rtol=1e-4, atol=1e-6)
    trained = {id(parameter) for parameter in adapter.parameters()}
    assert all(p.grad is None for p in model.parameters() if id(p) not in trained)


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_follow_the_same_curve_as_pefts(case: str) -> None:
    model, adapter, reference = _build_both(case)
    curves = []
    for network, parameters in (
        (model, adapter.parameters()),
        (reference, [p for p in reference.parameters() if p.requires_grad]),
    ):
        optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.01)
        losses = []
        for step in range(20):
            loss = compute_loss(network, build_batch(seed=step % 4))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    assert curves[0][-4:].mean() < curves[0][:4].mean() - 0.02
    torch.testing.assert_close(curves[0], curves[1], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_peft_loads_what_we_write_and_gives_the_same_logits(case: str, tmp_path: Path) -> None:
    family, targets = CASES[case]
    model = build_model(family)
    untouched = copy.deepcopy(model)
    settings = AdapterSettings(
        rank=4,
        alpha=6.0,
        targets=targets,
        layers="1" if targets == "all-linear" else "all",
        variant="rslora",
        overrides=(AdapterOverride(match="*mlp*" if targets == "all-linear" else "*", rank=2),),
    )
    adapter = inject(model, settings, seed=1)
    _perturb(adapter)
    save_adapter(adapter, tmp_path / "adapter", base_model="tiny")
    loaded = peft.PeftModel.from_pretrained(untouched, tmp_path / "adapter")
    ids = build_batch()
    torch.testing.assert_close(
        loaded.eval()(input_ids=ids).logits, model.eval()(input_ids=ids).logits,
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip
    adapted = [n for n, m in loaded.named_modules() if isinstance(m, peft.tuners.lora.LoraLayer)]
    assert len(adapted) == len(adapter.modules)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", ["list", "regex", "pattern"])
def test_we_load_what_peft_writes_and_give_the_same_logits(
    case: str, form: str, tmp_path: Path
) -> None:
    family, targets = CASES[case]
    model = build_model(family)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=targets if isinstance(targets, str) else list(targets),
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    if form == "regex":
        ends = "c_attn|c_fc|c_proj|wte|q_proj|v_proj|embed_tokens"
        config.target_modules = rf".*\.({ends})"
    if form == "pattern":
        config.rank_pattern = {"down_proj": 2, "c_attn": 3, ".*v_proj": 5}
        config.alpha_pattern = {"down_proj": 1.5, "c_attn": 9, "embed_tokens": 3}
        config.use_rslora = True
    reference = peft.get_peft_model(copy.deepcopy(model), config).eval()
    reference.save_pretrained(tmp_path)
    load_adapter(model, tmp_path)
    ids = build_batch()
    torch.testing.assert_close(
        model.eval()(input_ids=ids).logits, reference(input_ids=ids).logits, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("init", ["mica", "orthogonal"])
def test_inits_that_leave_the_base_alone_are_loaded_although_we_do_not_make_them(
    init: str, tmp_path: Path
) -> None:
    model, ids = build_model("llama").eval(), build_batch()
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=init)
    reference = peft.get_peft_model(copy.deepcopy(model), config).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    reference.save_pretrained(tmp_path)
    load_adapter(model, tmp_path)
    torch.testing.assert_close(
        model(input_ids=ids).logits, reference(input_ids=ids).logits, rtol=1e-5, atol=1e-5
    )


def test_bfloat16_under_autocast_is_as_close_to_float32_as_pefts() -> None:
    model, adapter, reference = _build_both("llama")
    _perturb(adapter)
    _copy_to_peft(adapter, reference)
    ids = build_batch()
    compute_loss(model, ids).backward()
    exact = [parameter.grad.clone() for parameter in adapter.parameters()]
    for parameter in adapter.parameters():
        parameter.grad = None

    errors = []
    for network, pairs in (
        (model, [(m.lora_A, m.lora_B) for m in adapter.modules.values()]),
        (reference, [_get_pair(_find_layer(reference, name)) for name in adapter.modules]),
    ):
        frozen = [p for p in network.parameters() if not p.requires_grad]
        for parameter in frozen:
            parameter.data = parameter.data.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            compute_loss(network, ids).backward()
        found = [matrix for pair in pairs for matrix in pair]
        assert all(matrix.grad.dtype == torch.float32 for matrix in found)
        difference = sum((m.grad - e).square().sum() for m, e in zip(found, exact, strict=True))
        errors.append(math.sqrt(difference / sum(e.square().sum() for e in exact)))
    assert errors[0] < 1.25 * errors[1]
    assert errors[0] < 0.05


def test_disabled_adapters_give_the_logits_of_the_base_exactly() -> None:
    base = build_model("llama").eval()
    ids = build_batch()
    before = base(input_ids=ids).logits
    adapter = inject(base, AdapterSettings(rank=4), seed=1)
    _perturb(adapter)
    assert not torch.equal(base(input_ids=ids).logits, before)
    with adapter.disabled():
        assert torch.equal(base(input_ids=ids).logits, before)
    changed = base(input_ids=ids).logits
    adapter.detach()
    assert torch.equal(base(input_ids=ids).logits, before)
    adapter.attach()
    assert torch.equal(base(input_ids=ids).logits, changed)


@pytest.mark.parametrize("init", ["kaiming", "gaussian"])
def test_start_values_have_the_distribution_that_peft_draws(init: str) -> None:
    model = build_model("llama", hidden_size=256, num_hidden_layers=1)
    config = peft.LoraConfig(
        r=64, target_modules=["q_proj"], init_lora_weights=True if init == "kaiming" else init
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = peft.get_peft_model(copy.deepcopy(model), config)
    settings = AdapterSettings(rank=64, targets=("q_proj",), init=init)
    (module,) = inject(model, settings, seed=3).modules.values()
    (layer,) = [m for m in reference.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]
    theirs = layer.lora_A["default"].weight
    assert not module.lora_B.any()
    quantiles = (
        torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
        if init == "kaiming"
        else torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    )
    torch.testing.assert_close(
        module.lora_A.flatten().quantile(quantiles), theirs.flatten().quantile(quantiles),
        rtol=0.05, atol=0.002,
    )  # fmt: skip
