"""A causal language model in two parts: the body that makes hidden states, and the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from studio.engine.train.loss import LogitRule

_PROBE_TOKENS = 12


@dataclass(frozen=True)
class CausalBody:
    """How to get hidden states and logits of one model.

    ``is_split`` says whether body and head, called one after the other, were proven to give the
    model's own logits; otherwise only the model as a whole can be called.
    """

    model: PreTrainedModel
    rule: LogitRule
    is_split: bool

    @property
    def head(self) -> nn.Module:
        """The output head as it is now (it may have been adapted since)."""
        head: nn.Module | None = self.model.get_output_embeddings()
        if head is None:
            raise LookupError("the model has no output head")
        return head

    def compute_hidden(self, **inputs: Any) -> Tensor:
        """Returns the hidden states that the head reads, ``(batch, tokens, width)``."""
        output = self.model.base_model(use_cache=False, return_dict=True, **inputs)
        hidden: Tensor = output.last_hidden_state
        return hidden


def split_model(model: PreTrainedModel) -> CausalBody:
    """Returns the parts of ``model``, after one comparison with the model's own logits."""
    rule = find_logit_rule(model)
    body = CausalBody(model, rule, is_split=True)
    return body if _gives_same_logits(body) else CausalBody(model, LogitRule(), is_split=False)


def find_logit_rule(model: PreTrainedModel) -> LogitRule:
    """Returns what the model's config says about its logits after the head."""
    config = model.config.get_text_config()
    scale = 1.0
    if getattr(config, "logit_scale", None):  # Cohere multiplies
        scale = float(config.logit_scale)
    if getattr(config, "logits_scaling", None):  # Granite divides
        scale = 1.0 / float(config.logits_scaling)
    softcap = getattr(config, "final_logit_softcapping", None)
    return LogitRule(scale, float(softcap) if softcap else None)


def make_probe_ids(model: PreTrainedModel, tokens: int, seed: int = 0) -> Tensor:
    """Returns the same random token ids on every call, ``(1, tokens)``, on the model's device."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(min(3, vocabulary - 1), vocabulary, (1, tokens), generator=generator)
    return ids.to(model.device)


@torch.no_grad()
def _gives_same_logits(body: CausalBody) -> bool:
    model = body.model
    if model.base_model is model or model.get_output_embeddings() is None:
        return False
    ids = make_probe_ids(model, _PROBE_TOKENS)
    was_training = model.training
    model.eval()
    try:
        expected = model(input_ids=ids, use_cache=False).logits.float()
        hidden = body.compute_hidden(input_ids=ids)
        found = body.rule.apply(body.head(hidden).float())
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return False
    finally:
        model.train(was_training)
    if found.shape != expected.shape:
        return False
    size = float(expected.abs().max()) + 1e-6
    tolerance = 1e-4 if model.dtype == torch.float32 else 3e-2
    return float((found - expected).abs().max()) <= tolerance * size
