"""Tokens equal those of transformers; sampling follows its definition; text is never half."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from studio.core.recipe.schema import AdapterSettings
from studio.engine.infer.generate import iter_tokens
from studio.engine.infer.sampling import Sampling, choose_token
from studio.engine.infer.text_stream import TextStream
from studio.engine.lora.adapter import Adapter
from studio.engine.lora.inject import inject
from tests.engine.lora.tiny_models import build_model
from tests.engine.tiny_run import build_tokenizer

PROMPT = [5, 17, 3, 44, 9]
TOKENIZER = build_tokenizer()


def _perturb(adapter: Adapter) -> None:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def _generate_with_transformers(model: transformers.PreTrainedModel, count: int) -> list[int]:
    ids = torch.tensor([PROMPT])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=2,
        pad_token_id=0,
    )
    return output[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize(
    "family", ["llama", "qwen3", "mistral", "gemma3", "phi", "gpt2", "gpt_neox"]
)
def test_greedy_tokens_equal_those_of_transformers(family: str) -> None:
    options = {"sliding_window": 8} if family in ("mistral", "gemma3") else {}
    model = build_model(family, **options).eval()
    found = list(iter_tokens(model, PROMPT, Sampling(max_new_tokens=30), {2}))
    assert found == _generate_with_transformers(model, 30)


def test_a_model_without_a_key_value_cache_is_read_again_for_each_token() -> None:
    torch.manual_seed(0)
    config = transformers.MambaConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, bos_token_id=1, eos_token_id=2
    )
    model = transformers.MambaForCausalLM(config).eval()
    found = list(iter_tokens(model, PROMPT, Sampling(max_new_tokens=8), {2}))
    assert found == _generate_with_transformers(model, 8)


def test_an_adapter_answers_as_the_merged_model_does_in_transformers() -> None:
    model = build_model("llama")
    before = list(iter_tokens(model.eval(), PROMPT, Sampling(max_new_tokens=24), {2}))
    adapter = inject(model, AdapterSettings(rank=4, alpha=8.0), seed=0)
    _perturb(adapter)
    model.eval()
    with_adapter = list(iter_tokens(model, PROMPT, Sampling(max_new_tokens=24), {2}))
    adapter.detach()
    with torch.no_grad():
        for module in adapter.modules.values():
            module.base.weight.copy_(module.get_merged_weight())
    assert with_adapter == _generate_with_transformers(model, 24)
    assert with_adapter != before


def test_generation_ends_with_the_stop_token_and_at_the_end_of_the_context() -> None:
    model = build_model("llama").eval()
    free = list(iter_tokens(model, PROMPT, Sampling(max_new_tokens=12), ()))
    assert len(free) == 12
    first = free.index(free[4])
    assert (
        list(iter_tokens(model, PROMPT, Sampling(max_new_tokens=12), {free[4]}))
        == (free[: first + 1])
    )
    assert len(list(iter_tokens(model, PROMPT, Sampling(max_new_tokens=12), (), 9))) == 4


def test_a_seed_gives_the_same_answer_whatever_else_draws_random_numbers() -> None:
    model = build_model("llama").eval()
    sampling = Sampling(max_new_tokens=16, temperature=1.0, seed=5)
    first = list(iter_tokens(model, PROMPT, sampling, ()))
    state = torch.get_rng_state()
    torch.rand(7)
    assert list(iter_tokens(model, PROMPT, sampling, ())) == first
    torch.set_rng_state(state)
    other = Sampling(max_new_tokens=16, temperature=1.0, seed=6)
    assert list(iter_tokens(model, PROMPT, other, ())) != first


def test_no_step_of_generation_leaves_gradients_switched_off() -> None:
    model = build_model("llama").eval()
    for _ in iter_tokens(model, PROMPT, Sampling(max_new_tokens=2), ()):
        assert torch.is_grad_enabled()


def test_top_p_draws_only_from_the_smallest_sufficient_set() -> None:
    chances = torch.tensor([0.05, 0.5, 0.3, 0.15])
    generator = torch.Generator().manual_seed(0)
    drawn = {
        choose_token(chances.log(), Sampling(temperature=1.0, top_p=0.75), generator)
        for _ in range(200)
    }
    assert drawn == {1, 2}


def test_sampled_tokens_have_the_chances_of_the_softmax_at_that_temperature() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    generator = torch.Generator().manual_seed(0)
    drawn = [choose_token(logits, Sampling(temperature=2.0), generator) for _ in range(4000)]
    shares = torch.bincount(torch.tensor(drawn), minlength=3) / 4000
    torch.testing.assert_close(shares, torch.softmax(logits / 2, dim=0), rtol=0, atol=0.03)


@given(prompt=st.text(max_size=12), answer=st.text(max_size=24))
def test_pieces_joined_are_the_text_and_no_piece_is_half_a_character(
    prompt: str, answer: str
) -> None:
    prompt, answer = (text.replace("\ufffd", "?") for text in (prompt, answer))
    if "<end>" in prompt + answer:
        return
    stream = TextStream(TOKENIZER, TOKENIZER(prompt)["input_ids"])
    pieces = [stream.add(token) for token in TOKENIZER(answer)["input_ids"]]
    pieces.append(stream.finish())
    assert "".join(pieces) == answer
    assert not any("\ufffd" in piece for piece in pieces)


def test_an_answer_cut_amid_a_character_drops_the_half() -> None:
    stream = TextStream(TOKENIZER, TOKENIZER("x")["input_ids"])
    ids = TOKENIZER("aü")["input_ids"]
    assert [stream.add(token) for token in ids[:-1]] == ["a", ""]
    assert stream.finish() == ""


@pytest.mark.material
def test_blanks_between_words_survive_a_sentencepiece_tokenizer(material: Path) -> None:
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(
        material / "models/stories260K-hf", trust_remote_code=False
    )
    prompt, answer = "Once upon", " a time, there was a little girl."
    prompt_ids = tokenizer(prompt)["input_ids"]
    ids = tokenizer(prompt + answer)["input_ids"][len(prompt_ids) :]
    stream = TextStream(tokenizer, prompt_ids)
    assert "".join([*(stream.add(token) for token in ids), stream.finish()]) == answer
