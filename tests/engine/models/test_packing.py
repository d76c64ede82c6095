"""Packed rows give what separate documents give, or the probe says no."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

from studio.engine.models.attention import (
    PACKED,
    attention_of,
    get_attention,
    get_documents,
    packed_documents,
)
from studio.engine.models.body import split_model
from studio.engine.models.packing_probe import is_packing_exact, is_padding_exact
from studio.engine.train.loss import LogitRule, sum_cross_entropy
from tests.engine.lora.tiny_models import build_model

LENGTHS = (5, 21, 1, 13)
FAMILIES = {
    "llama": {},
    "qwen3": {},
    "mistral": {"sliding_window": 8},
    "gemma3": {"sliding_window": 8},
    "phi": {},
    "gpt2": {},
    "gpt_neox": {},
}


def _build_gemma2() -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        attn_logit_softcapping=5.0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.Gemma2ForCausalLM._from_config(config, attn_implementation="eager").float()


def _compare(model: transformers.PreTrainedModel) -> None:
    documents = [torch.randint(3, 64, (1, count)) for count in LENGTHS]
    positions = torch.cat([torch.arange(count) for count in LENGTHS])[None]
    expected = torch.cat([model(ids, use_cache=False).logits[0] for ids in documents])
    expected.square().mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    with attention_of(model, PACKED), packed_documents(model, LENGTHS):
        row = torch.cat(documents, dim=1)
        found = model(row, position_ids=positions, use_cache=False).logits[0]
        found.square().mean().backward()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_documents_equal_separate_ones(family: str) -> None:
    model = build_model(family, **FAMILIES[family]).eval()
    assert is_packing_exact(model)
    assert get_attention(model) == "eager"
    _compare(model)


def test_capped_scores_equal_those_of_separate_documents() -> None:
    model = _build_gemma2().eval()
    assert is_packing_exact(model)
    _compare(model)


@pytest.mark.parametrize("family", ["bloom", "falcon"])
def test_a_model_with_position_biases_is_found_out_by_the_probe(family: str) -> None:
    kind = {"bloom": transformers.BloomConfig, "falcon": transformers.FalconConfig}[family]
    sizes = {"vocab_size": 64, "hidden_size": 32, "bos_token_id": 1, "eos_token_id": 2}
    layers = {"bloom": {"n_layer": 2, "n_head": 4}, "falcon": {"num_hidden_layers": 2}}[family]
    heads = {} if family == "bloom" else {"num_attention_heads": 4, "alibi": True}
    config = kind(**sizes, **layers, **heads)
    model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    was_training = model.training
    assert not is_packing_exact(model)
    assert model.training == was_training


def test_wide_windows_are_proven_as_well_and_stay_as_they_are() -> None:
    model = build_model("gemma3", sliding_window=4096).eval()
    assert is_packing_exact(model)
    windows = {model.config.sliding_window, model.base_model.layers[0].self_attn.sliding_window}
    assert windows == {4096}
    for layer in model.base_model.layers:
        layer.self_attn.sliding_window = None  # as in families that tell it by the mask alone
    assert not is_packing_exact(model)


@pytest.mark.parametrize("rope", ["dynamic", "longrope", "yarn"])
def test_a_long_document_does_not_turn_the_positions_of_a_short_one(rope: str) -> None:
    values: dict[str, object] = {"rope_type": rope, "rope_theta": 1e4, "factor": 4.0}
    if rope != "dynamic":
        values["original_max_position_embeddings"] = 16
    if rope == "longrope":
        values |= {"short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 3.0, 4.0]}
    places = 16 if rope == "dynamic" else 64
    model = build_model(
        "llama", rope_parameters=values, max_position_embeddings=places, initializer_range=0.3
    ).eval()
    assert is_packing_exact(model)
    _compare(model)


def test_a_model_that_counts_filler_cannot_be_padded() -> None:
    model = build_model("llama").eval()
    assert is_padding_exact(model)
    mlp = model.base_model.layers[0].mlp
    mlp.register_forward_hook(lambda _module, _inputs, found: found + found.mean(1, keepdim=True))
    assert not is_padding_exact(model)


@pytest.mark.parametrize("family", ["bloom", "gpt_neo", "mamba"])
def test_what_cannot_be_packed_can_be_padded(family: str) -> None:
    sizes = {"num_heads": 4, "n_head": 4, "num_layers": 2, "n_layer": 2, "num_hidden_layers": 2}
    config = transformers.AutoConfig.for_model(
        family, vocab_size=64, hidden_size=32, max_position_embeddings=64, state_size=4,
        bos_token_id=1, eos_token_id=2, attention_types=[[["global", "local"], 1]], **sizes
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    assert not is_packing_exact(model)
    assert is_padding_exact(model)


def test_a_model_that_mixes_documents_is_found_out_by_its_numbers() -> None:
    model = build_model("llama").eval()
    mlp = model.base_model.layers[0].mlp
    mlp.register_forward_hook(lambda _module, _inputs, found: found + found.mean(1, keepdim=True))
    assert not is_packing_exact(model)


def test_two_models_do_not_share_their_documents() -> None:
    first, second = build_model("llama"), build_model("llama")
    with packed_documents(first, (3, 4)):
        assert get_documents(first).lengths == [3, 4]
        assert get_documents(second).lengths == []
    assert get_documents(first).lengths == []


@pytest.mark.parametrize("family", FAMILIES)
def test_body_and_head_one_after_the_other_give_the_models_logits(family: str) -> None:
    parts = split_model(build_model(family))
    assert parts.is_split


def _build_scaled(family: str) -> transformers.PreTrainedModel:
    if family == "gemma2":
        return _build_gemma2()
    torch.manual_seed(0)
    values = {"cohere": {"logit_scale": 0.25}, "granite": {"logits_scaling": 4.0}}[family]
    config = transformers.AutoConfig.for_model(
        family,
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        **values,
    )
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("family", ["gemma2", "cohere", "granite"])
def test_the_chunked_loss_of_scaled_and_capped_logits_is_the_models_own(family: str) -> None:
    model = _build_scaled(family).eval().requires_grad_(False)
    parts = split_model(model)
    assert parts.is_split
    assert parts.rule == (LogitRule(softcap=30.0) if family == "gemma2" else LogitRule(0.25))
    ids = torch.randint(3, 64, (2, 9), generator=torch.Generator().manual_seed(1))
    hidden = parts.compute_hidden(input_ids=ids)[:, :-1].flatten(0, 1)
    for smoothing in (0.0, 0.1):
        targets = ids[:, 1:].flatten()
        found = sum_cross_entropy(hidden, targets, parts.head, parts.rule, 5, None, smoothing)
        logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
        wanted = cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
        torch.testing.assert_close(found, wanted)
