"""Models of the tests in few bits, and the same models with the unfolded weights in full size."""

from __future__ import annotations

import copy

import torch
from torch import nn

from studio.engine.held.layer import QuantisedLayer
from studio.engine.models.quantised import Quantising, iter_quantisable, replace_module
from studio.engine.quant import get_quantise


def quantise_model(model: nn.Module, kind: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Returns ``model`` with its layers quantised, as if it had been read from files so."""
    quantising = Quantising(kind, get_quantise(kind), dtype, torch.device("cpu"))
    for name, module in list(iter_quantisable(model)):
        layer = quantising.build(module)
        layer.weight = module.weight
        replace_module(model, name, layer)
    return model


def unfold_into(dense: nn.Module, quantised: nn.Module) -> nn.Module:
    """Returns ``dense`` with the unfolded weights of ``quantised`` in it."""
    with torch.no_grad():
        for name, module in quantised.named_modules():
            if isinstance(module, QuantisedLayer):
                dense.get_submodule(name).weight.copy_(module.build_dense().weight)
    return dense


def build_pair(model: nn.Module, kind: str) -> tuple[nn.Module, nn.Module]:
    """Returns ``model`` quantised, and a copy that computes the same in full size."""
    quantised = quantise_model(copy.deepcopy(model), kind)
    return quantised, unfold_into(model, quantised)
