"""Inits that start from the base's own weights equal peft's, and their files fit the plain base."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.engine.lora.adapter import build_adapted
from studio.engine.lora.inits import get_init
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.tiny_models import build_batch, build_model, compute_loss

INITS = ("pissa", "pissa_fast", "olora")
_PEFT_NAMES = {"pissa": "pissa", "pissa_fast": "pissa_niter_16", "olora": "olora"}


def _settings(init: str, **changes: object) -> AdapterSettings:
    return AdapterSettings(rank=4, alpha=6.0, init=init).model_copy(update=changes)


@pytest.mark.parametrize("variant", ["plain", "rslora", "dora"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("init", INITS)
def test_training_starts_at_the_base_and_leaves_its_weights_alone(
    init: str, family: str, variant: str
) -> None:
    model, ids = build_model(family), build_batch()
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    before = model(input_ids=ids).logits
    adapter = inject(model, _settings(init, variant=variant), seed=1)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-5, atol=1e-5)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=3e-3)
    losses = []
    for _ in range(5):
        loss = compute_loss(model, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    adapter.detach()
    assert all(torch.equal(p, kept[name]) for name, p in model.named_parameters())


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("init", "family", "tolerance"),
    [
        ("pissa", "llama", 1e-5),
        ("pissa", "gpt2", 1e-5),
        ("olora", "llama", 1e-5),  # peft decomposes GPT-2's transposed weights the wrong way round
        ("pissa_fast", "llama", 5e-3),  # two random approximations
        ("pissa_fast", "gpt2", 5e-3),
    ],
)
def test_twenty_steps_follow_the_same_curve_as_pefts(
    init: str, family: str, tolerance: float
) -> None:
    """The pairs differ by signs and rounding of the decomposition, their updates do not."""
    peft = pytest.importorskip("peft")
    model = build_model(family)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules="all-linear",
        init_lora_weights=_PEFT_NAMES[init],
        fan_in_fan_out=family == "gpt2",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(0)
    reference = peft.get_peft_model(copy.deepcopy(model), config)
    adapter = inject(model, _settings(init), seed=1)
    curves = []
    for network, parameters in (
        (model, adapter.parameters()),
        (reference, [p for p in reference.parameters() if p.requires_grad]),
    ):
        # plain descent: Adam would follow single signs of tiny gradients
        optimizer = torch.optim.SGD(parameters, lr=0.3)
        losses = []
        for step in range(20):
            loss = compute_loss(network, build_batch(seed=step % 4))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    assert curves[0][-4:].mean() < curves[0][:4].mean() - 0.01
    torch.testing.assert_close(curves[0], curves[1], rtol=tolerance, atol=2e-5)


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("variant", ["plain", "rslora", "dora"])
@pytest.mark.parametrize("init", INITS)
def test_peft_loads_the_file_on_the_base_as_it_was_published(
    init: str, variant: str, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    model, ids = build_model("llama"), build_batch()
    bare = copy.deepcopy(model)
    overrides = (AdapterOverride(match="*mlp*", rank=3, alpha=5.0),)
    adapter = inject(model, _settings(init, variant=variant, overrides=overrides), seed=1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    save_adapter(adapter, tmp_path / "a", base_model="tiny")
    ours = model(input_ids=ids).logits
    loaded = peft.PeftModel.from_pretrained(copy.deepcopy(bare), tmp_path / "a")
    torch.testing.assert_close(loaded(input_ids=ids).logits, ours, rtol=1e-5, atol=1e-5)
    again = load_adapter(bare, tmp_path / "a")
    torch.testing.assert_close(bare(input_ids=ids).logits, ours, rtol=1e-5, atol=1e-5)
    assert again.modules["model.layers.0.mlp.up_proj"].rank == 6


def test_pissa_holds_the_best_approximation_of_the_weights() -> None:
    """Eckart and Young: no other matrix of this rank is nearer."""
    torch.manual_seed(0)
    base = nn.Linear(12, 9)
    exact = torch.linalg.svdvals(base.weight.detach())[4:].square().sum().sqrt()
    for init in ("pissa", "pissa_fast"):
        module = build_adapted(base, "linear", rank=4, alpha=6.0)
        get_init(init).initialise(module, torch.Generator().manual_seed(0))
        nearest = module.scaling * module.lora_B @ module.lora_A
        torch.testing.assert_close((base.weight - nearest).norm(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("init", INITS)
def test_ranks_above_those_of_the_weights_start_as_nothing(init: str) -> None:
    base = nn.Linear(3, 5)
    module = build_adapted(base, "linear", rank=4, alpha=6.0)
    get_init(init).initialise(module, torch.Generator().manual_seed(0))
    assert not module.lora_B[:, 3:].any()
    assert module.lora_A[3:].any()
    x = torch.randn(2, 3)
    torch.testing.assert_close(module(x), base(x))
