"""Rows of one batch get the tokens that transformers gives to each alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from studio.core.recipe.schema import AdapterSettings
from studio.engine.infer.batch import can_pad
from studio.engine.infer.generate import Generation, Prompt
from studio.engine.infer.sampling import Sampling
from studio.engine.lora.inject import inject
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.tiny_models import build_model

SHORT, LONG = (5, 17, 3), (5, 17, 3, 44, 9, 21, 30, 8, 11, 2, 40)
FAMILIES = ["llama", "qwen3", "mistral", "gemma3", "phi", "gpt2", "gpt_neox"]


def _options(family: str) -> dict[str, int]:
    return {"sliding_window": 8} if family in ("mistral", "gemma3") else {}


def _write_adapter(folder: Path, family: str, seed: int, rank: int, variant: str) -> Path:
    model = build_model(family, **_options(family))
    adapter = inject(model, AdapterSettings(rank=rank, alpha=8.0, variant=variant), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            size = 0.05 if name.endswith("magnitude") else 0.3
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size)
    save_adapter(adapter, folder, base_model="tiny")
    return folder


def _generate(
    model: transformers.PreTrainedModel, ids: tuple[int, ...], count: int, **options: object
) -> list[int]:
    """Tokens as ``transformers.generate`` makes them; nothing ends the answer."""
    prompt = torch.tensor([ids])
    output = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        **options,
    )
    return output[0, len(ids) :].tolist()


def _merge(family: str, folder: Path | None) -> transformers.PreTrainedModel:
    model = build_model(family, **_options(family)).eval()
    if folder is not None:
        adapter = load_adapter(model, folder)
        adapter.detach()
        with torch.no_grad():
            for module in adapter.modules.values():
                module.base.weight.copy_(module.get_merged_weight())
    return model


def _run(generation: Generation, rows: int) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(rows)]
    while generation.open_rows:
        for row, token in generation.advance().items():
            found[row].append(token)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_equals_transformers_with_its_adapter_merged(family: str, tmp_path: Path) -> None:
    folders = {
        "a": _write_adapter(tmp_path / "a", family, 1, 3, "plain"),
        "b": _write_adapter(tmp_path / "b", family, 2, 5, "dora"),
    }
    model = build_model(family, **_options(family)).eval()
    stack = AdapterStack(model)
    for name, folder in folders.items():
        stack.load(name, folder)
    wishes = [(None, LONG, 20), ("a", LONG, 24), ("b", SHORT, 9), ("a", SHORT, 24), ("b", LONG, 1)]
    prompts = [
        Prompt(ids, Sampling(max_new_tokens=count), RowChoice(name)) for name, ids, count in wishes
    ]
    assert can_pad(model)
    found = _run(Generation(model, prompts, (), stack=stack, can_pad=True), len(prompts))
    for tokens, (name, ids, count) in zip(found, wishes, strict=True):
        assert tokens == _generate(_merge(family, folders.get(name or "")), ids, count)
    apart = _run(Generation(model, prompts, (), stack=stack), len(prompts))
    assert apart == found
    assert found[0] != found[1][:20]


def test_a_penalty_for_repetition_gives_the_tokens_of_transformers() -> None:
    model = build_model("llama").eval()
    prompts = [
        Prompt(ids, Sampling(max_new_tokens=20, repetition_penalty=penalty))
        for ids, penalty in ((SHORT, 1.0), (LONG, 1.3), (SHORT, 1.8))
    ]
    found = _run(Generation(model, prompts, (), can_pad=True), 3)
    for tokens, prompt in zip(found, prompts, strict=True):
        penalty = prompt.sampling.repetition_penalty
        assert tokens == _generate(model, prompt.ids, 20, repetition_penalty=penalty)
    assert found[0] != found[2]


def test_sampled_rows_draw_what_each_would_draw_alone() -> None:
    model = build_model("llama").eval()
    prompts = [
        Prompt(LONG, Sampling(16, temperature=1.0, seed=seed, top_p=0.9)) for seed in (4, 4, 5)
    ]
    found = _run(Generation(model, prompts, ()), 3)
    assert found[0] == found[1] != found[2]
    assert found[2] == _run(Generation(model, prompts[2:], ()), 1)[0]


def test_rows_end_at_their_stop_token_and_when_they_are_closed() -> None:
    model = build_model("llama").eval()
    free = _generate(model, LONG, 12)
    prompts = [Prompt(LONG, Sampling(max_new_tokens=12)) for _ in range(2)]
    generation = Generation(model, prompts, {free[4]})
    generation.advance()
    generation.close(0)
    rest = _run(generation, 2)
    assert rest[0] == []
    assert rest[1] == free[1 : free.index(free[4]) + 1]
    full = Generation(model, [Prompt(LONG, Sampling(max_new_tokens=12))], (), context_tokens=14)
    assert _run(full, 1) == [free[:3]]


def test_models_that_do_not_understand_filler_are_found_out_and_answered_by_length() -> None:
    torch.manual_seed(0)
    config = transformers.MambaConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, bos_token_id=1, eos_token_id=2
    )
    model = transformers.MambaForCausalLM(config).eval()
    prompts = [Prompt(ids, Sampling(max_new_tokens=6)) for ids in (SHORT, LONG, LONG)]
    found = _run(Generation(model, prompts, (), can_pad=can_pad(model)), 3)
    assert found == [_generate(model, ids, 6) for ids in (SHORT, LONG, LONG)]


class _Blind(transformers.LlamaForCausalLM):
    """A model without a word for filler: neither a mask nor positions reach it."""

    def forward(self, input_ids, past_key_values=None, use_cache=None, return_dict=None):
        return super().forward(
            input_ids=input_ids, past_key_values=past_key_values, use_cache=use_cache
        )


def test_filler_that_would_change_the_answers_is_not_used() -> None:
    model = _Blind(build_model("llama").config).eval()
    assert not can_pad(model)
    prompts = [Prompt(ids, Sampling(max_new_tokens=6)) for ids in (SHORT, LONG)]
    found = _run(Generation(model, prompts, ()), 2)
    for tokens, prompt in zip(found, prompts, strict=True):
        assert tokens == _run(Generation(model, [prompt], ()), 1)[0]


def test_rows_go_apart_where_a_layer_cannot_tell_them_apart(tmp_path: Path) -> None:
    """As in mixtures of experts, which put the rows' tokens in another order."""
    folder = _write_adapter(tmp_path / "a", "llama", 1, 3, "plain")
    model = build_model("llama").eval()
    stack = AdapterStack(model)
    stack.load("a", folder)
    for layer in model.model.layers:
        inner = layer.mlp.forward
        layer.mlp.forward = lambda x, inner=inner: inner(x.flatten(0, 1)).view_as(x)
    prompts = [Prompt(LONG, Sampling(max_new_tokens=8), RowChoice(name)) for name in (None, "a")]
    found = _run(Generation(model, prompts, (), stack=stack), 2)
    assert found[0] == _generate(_merge("llama", None), LONG, 8)
    assert found[1] == _generate(_merge("llama", folder), LONG, 8)
