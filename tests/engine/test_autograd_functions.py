"""Every autograd function of the engine has the gradient that torch measures in float64."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from studio.core.recipe.schema import AdapterSettings
from studio.engine.held.product import frozen_product
from studio.engine.lora.function import adapted_linear
from studio.engine.lora.gated_mlp import get_joined
from studio.engine.lora.inject import inject
from studio.engine.lora.low_rank import LowRankProduct
from studio.engine.lora.masked import masked_linear
from studio.engine.models.packed_function import attend_documents
from studio.engine.models.rms_norm import _RULES, _RmsNorm
from studio.engine.quant.none import PlainLinear
from studio.engine.train.loss import LogitRule, sum_cross_entropy
from tests.engine.lora.tiny_models import build_model

ENGINE = Path(__file__).parents[2] / "studio" / "engine"
Check = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def _draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def _build_frozen(out_features: int = 4) -> PlainLinear:
    layer = nn.Linear(3, out_features, dtype=torch.float64).requires_grad_(False)
    with torch.no_grad():
        layer.weight[0, 0] = 0.0
    return PlainLinear(layer)


def _check_adapted() -> list[Check]:
    frozen, x, factors = _build_frozen(), _draw(5, 3), (_draw(2, 3), _draw(4, 2))
    return [
        (lambda x, a, b, p=p: adapted_linear(x, frozen, a, b, 1.7, dropout=p), (x, *factors))
        for p in (0.0, 0.4)
    ]


def _check_masked() -> list[Check]:
    frozen, x, factors = _build_frozen(), _draw(5, 3), (_draw(2, 3), _draw(4, 2))
    return [
        (lambda x, a, b, p=p: masked_linear(x, frozen, a, b, 1.7, dropout=p), (x, *factors))
        for p in (0.0, 0.4)
    ]


def _check_frozen() -> list[Check]:
    frozen = _build_frozen()
    return [(lambda x: frozen_product(x, frozen), (_draw(2, 5, 3),))]


def _check_gated() -> list[Check]:
    """All seven inputs: x and the two factors of gate, up and down."""
    sizes = {"hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1, "head_dim": 4}
    model = build_model("llama", **sizes, num_attention_heads=1, num_key_value_heads=1).double()
    inject(model, AdapterSettings(rank=2, alpha=6.0), seed=0)
    part = model.get_submodule("model.layers.0.mlp")
    joined = get_joined(part)
    assert joined is not None
    layers = [part.get_submodule(f"{name}_proj") for name in ("gate", "up", "down")]
    factors = tuple(one for m in layers for one in (_draw(*m.lora_A.shape), _draw(*m.lora_B.shape)))

    def compute(x: Tensor, *given: Tensor, keeps: bool) -> Tensor:
        for at, layer in enumerate(layers):
            layer.get_factors = lambda pair=given[2 * at : 2 * at + 2]: pair
        return joined.run(x, keeps=keeps)

    return [
        (lambda *given, keeps=keeps: compute(*given, keeps=keeps), (_draw(3, 4), *factors))
        for keeps in (True, False)
    ]


def _check_norm() -> list[Check]:
    weight = _draw(6).detach()
    return [
        (lambda x, rule=rule: _RmsNorm.apply(x, weight, 1e-5, rule), (_draw(2, 3, 6),))
        for rule in _RULES
    ]


def _check_attention() -> list[Check]:
    return [
        (
            lambda q, k, v: attend_documents(q, k, v, (3, 1, 2), 0.3),
            (_draw(1, 2, 6, 4), _draw(1, heads, 6, 4), _draw(1, heads, 6, 4)),
        )
        for heads in (2, 1)
    ]


def _check_loss() -> list[Check]:
    head = nn.Linear(3, 7, dtype=torch.float64).requires_grad_(False)
    targets = torch.randint(7, (5,))
    return [
        (
            lambda x, rule=rule, share=share: sum_cross_entropy(
                x, targets, head, rule, 2, None, share
            ),
            (_draw(5, 3),),
        )
        for rule in (LogitRule(), LogitRule(scale=2.0, softcap=3.0))
        for share in (0.0, 0.1)
    ]


CASES: dict[str, Callable[[], list[Check]]] = {
    "_AdaptedLinear": _check_adapted,
    "_MaskedLinear": _check_masked,
    "_FrozenProduct": _check_frozen,
    "_GatedMlp": _check_gated,
    "_RmsNorm": _check_norm,
    "_DocumentAttention": _check_attention,
    "_FrozenHeadLoss": _check_loss,
}


def test_no_autograd_function_is_left_out() -> None:
    found = {
        node.name
        for path in ENGINE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith("autograd.Function") for base in node.bases)
    }
    assert found == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_an_autograd_function_passes_gradcheck(name: str) -> None:
    torch.manual_seed(0)
    for compute, inputs in CASES[name]():
        assert torch.autograd.gradcheck(compute, inputs)


@pytest.mark.parametrize("keeps_hidden", [True, False])
def test_products_in_blocks_add_up_to_the_gradients_of_the_whole(keeps_hidden: bool) -> None:
    """What ``LowRankProduct`` gives for two blocks is what torch gives for all rows."""
    torch.manual_seed(0)
    frozen, x, a, b = _build_frozen(), _draw(5, 3), _draw(2, 3), _draw(4, 2)
    product = LowRankProduct(frozen, a.detach(), b.detach(), 1.7, torch.float64)
    g, output, back = torch.randn(5, 4, dtype=torch.float64), torch.empty(5, 4).double(), []
    for at in (slice(0, 2), slice(2, 5)):
        rows = x.detach()[at]
        hidden = product.forward(rows, output[at])
        back.append(product.backward(g[at], rows, hidden if keeps_hidden else None))
    expected = frozen.project(x) + 1.7 * x @ a.t() @ b.t()
    torch.testing.assert_close(output, expected)
    found = (torch.cat(back), *product.take_gradients())
    for one, other in zip(found, torch.autograd.grad(expected, (x, a, b), g), strict=True):
        torch.testing.assert_close(one, other)
