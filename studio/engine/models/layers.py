"""Finds the layers of a model and the parts inside a layer, whatever its family calls them."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

_ATTENTION = ("self_attn", "attention", "attn", "self_attention")
_ATTENTION_OUTPUT = ("o_proj", "out_proj", "dense", "c_proj", "wo")
_MLP = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "feedforward")


def find_layers(model: PreTrainedModel) -> list[nn.Module]:
    """Returns the layers that the hidden states pass one after the other, empty if unknown."""
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    return []


def find_attention(layer: nn.Module) -> nn.Module | None:
    """Returns the attention inside a layer, or None."""
    return _find_child(layer, _ATTENTION)


def find_attention_output(attention: nn.Module) -> nn.Module | None:
    """Returns the projection at the end of an attention, or None."""
    return _find_child(attention, _ATTENTION_OUTPUT)


def find_mlp(layer: nn.Module) -> nn.Module | None:
    """Returns the part of a layer that works on each token by itself, or None."""
    return _find_child(layer, _MLP)


def _find_child(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    found = [child for name, child in module.named_children() if name in names]
    return found[0] if len(found) == 1 else None
