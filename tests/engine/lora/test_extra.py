"""Modules trained in full and single trained tokens equal peft's and leave the rest alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

from studio.core.errors import AdapterUnusable, RecipeInvalid
from studio.core.recipe.schema import AdapterSettings
from studio.engine.export.merged import export_merged
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from studio.engine.lora.tokens import build_trained_tokens
from tests.engine.lora.tiny_models import build_batch, build_model, compute_loss

# family, changes of its config, modules in full, tokens
CASES: dict[str, tuple[str, dict[str, object], tuple[str, ...], tuple[int, ...]]] = {
    "head": ("llama", {}, ("lm_head",), ()),
    "norms": ("qwen3", {}, ("input_layernorm", "model.norm"), ()),
    "whole layer part": ("phi", {}, ("model.layers.1.mlp",), ()),
    "head of tied": ("llama", {"tie_word_embeddings": True}, ("lm_head",), ()),
    "table": ("gpt2", {}, ("wte",), ()),
    "tokens": ("llama", {}, (), (3, 5, 60)),
    "tokens of tied": ("llama", {"tie_word_embeddings": True}, (), (3, 5, 60)),
    "tokens of scaled and tied": ("gemma3", {"tie_word_embeddings": True}, (), (0, 5)),
    "tokens of padded": ("llama", {"pad_token_id": 5}, (), (3, 5)),
    "both": ("qwen3", {}, ("lm_head",), (7, 2)),
}


def _settings(extra: tuple[str, ...]) -> AdapterSettings:
    return AdapterSettings(rank=2, alpha=6.0, targets="attention", extra_modules=extra)


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", CASES)
def test_logits_gradients_and_files_equal_pefts(case: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    family, changes, extra, tokens = CASES[case]
    model, ids = build_model(family, **changes), build_batch()
    bare = copy.deepcopy(model)
    adapter = inject(model, _settings(extra), seed=1, token_ids=tokens)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_adapter(adapter, tmp_path / "ours", base_model="tiny")
    reference = peft.PeftModel.from_pretrained(
        copy.deepcopy(bare), tmp_path / "ours", is_trainable=True
    )
    ours = model(input_ids=ids).logits
    torch.testing.assert_close(ours, reference(input_ids=ids).logits, rtol=1e-5, atol=1e-5)

    compute_loss(model, ids).backward()
    compute_loss(reference, ids).backward()
    theirs = {
        name.replace(".modules_to_save", "")
        .replace("token_adapter.trainable_tokens_delta", "rows")
        .replace(".default", ""): parameter.grad
        for name, parameter in reference.base_model.model.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }
    for name, parameter in adapter.named_parameters():
        found = theirs.pop(name) if name in theirs else theirs.pop(f"{name}.weight")
        torch.testing.assert_close(parameter.grad, found, rtol=1e-4, atol=1e-6)
    assert not theirs

    reference.save_pretrained(tmp_path / "theirs")
    again = load_adapter(bare, tmp_path / "theirs")
    torch.testing.assert_close(bare(input_ids=ids).logits, ours, rtol=1e-6, atol=1e-6)
    assert again.trainable_parameters == adapter.trainable_parameters


# settings of peft's, whether the tables are tied
FOREIGN: dict[str, tuple[dict[str, object], bool]] = {
    "all norms by their end": ({"modules_to_save": ["norm"]}, False),
    "one weight for table and head": (
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        True,
    ),
    "a table by the end of its name": ({"trainable_token_indices": {"tokens": [7, 2]}}, False),
    "tokens of a tied head as well": (
        {"trainable_token_indices": {"embed_tokens": [7, 2], "lm_head": [7, 2]}},
        True,
    ),
    "other tokens of a tied head": (
        {"trainable_token_indices": {"embed_tokens": [7, 2], "lm_head": [9, 1]}},
        True,
    ),
}


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", FOREIGN)
def test_what_peft_saved_is_loaded_trained_saved_loaded_by_peft_and_merged(
    case: str, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    settings, is_tied = FOREIGN[case]
    base, ids = build_model("llama", tie_word_embeddings=is_tied).eval(), build_batch()
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **settings)
    reference = peft.get_peft_model(copy.deepcopy(base), config).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    reference.save_pretrained(tmp_path / "theirs")
    model = copy.deepcopy(base)
    adapter = load_adapter(model, tmp_path / "theirs")
    expected = reference(input_ids=ids).logits
    torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)

    compute_loss(model, ids).backward()
    torch.optim.SGD(adapter.parameters(), lr=0.5).step()
    save_adapter(adapter, tmp_path / "ours", base_model="tiny")
    trained = model(input_ids=ids).logits
    assert not torch.allclose(trained, expected, atol=1e-5)
    back = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "ours").eval()
    torch.testing.assert_close(back(input_ids=ids).logits, trained, rtol=1e-5, atol=1e-5)

    base.save_pretrained(tmp_path / "base")
    list(export_merged(tmp_path / "base", tmp_path / "ours", tmp_path / "merged"))
    merged = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged", trust_remote_code=False, use_safetensors=True
    )
    torch.testing.assert_close(merged.eval()(input_ids=ids).logits, trained, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_switched_off_the_model_is_its_base(case: str) -> None:
    family, changes, extra, tokens = CASES[case]
    model, ids = build_model(family, **changes).eval(), build_batch()
    before = model(input_ids=ids).logits
    adapter = inject(model, _settings(extra), seed=1, token_ids=tokens)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.1)
    assert not torch.allclose(model(input_ids=ids).logits, before, atol=1e-3)
    with adapter.disabled():
        assert torch.equal(model(input_ids=ids).logits, before)
    adapter.detach()
    assert torch.equal(model(input_ids=ids).logits, before)


def test_only_the_named_rows_of_a_table_learn() -> None:
    model = build_model("llama", tie_word_embeddings=True)
    table = model.get_input_embeddings().weight
    before = table.detach().clone()
    adapter = inject(model, _settings(()), seed=1, token_ids=(3, 60))
    assert [tuple(p.shape) for n, p in adapter.named_parameters() if "rows" in n] == [(2, 32)]
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=0.1)
    compute_loss(model, build_batch()).backward()
    optimizer.step()
    assert torch.equal(table, before)
    assert not torch.equal(adapter.tokens["model.embed_tokens"].rows, before[[3, 60]])
    assert adapter.tokens["lm_head"].rows is adapter.tokens["model.embed_tokens"].rows


def test_a_module_in_full_is_trained_in_fp32_over_a_bfloat16_base() -> None:
    model = build_model("llama", dtype=torch.bfloat16)
    adapter = inject(model, _settings(("lm_head", "model.norm")), seed=1, token_ids=(4,))
    assert {parameter.dtype for parameter in adapter.parameters()} == {torch.float32}
    logits = model(input_ids=build_batch()).logits
    assert logits.dtype == torch.bfloat16
    compute_loss(model, build_batch()).backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())


def test_modules_in_full_carry_no_adapter() -> None:
    model = build_model("llama")
    settings = AdapterSettings(rank=2, extra_modules=("model.layers.1.mlp",))
    adapter = inject(model, settings, seed=1)
    assert "model.layers.0.mlp.up_proj" in adapter.modules
    assert "model.layers.1.mlp.up_proj" not in adapter.modules
    assert list(adapter.extras) == ["model.layers.1.mlp"]


@pytest.mark.parametrize(
    ("settings", "tokens", "words"),
    [
        ({"extra_modules": ("score",)}, (), "matches no module"),
        ({}, (64,), "there is no token 64"),
        ({"targets": ("embed_tokens",)}, (1,), "trained in another way"),
        ({"extra_modules": ("embed_tokens",)}, (1,), "trained in another way"),
        ({"targets": ("lm_head",), "extra_modules": ("lm_head",)}, (), "nothing is left"),
    ],
)
def test_impossible_wishes_are_refused_in_words(
    settings: dict[str, object], tokens: tuple[int, ...], words: str
) -> None:
    with pytest.raises(RecipeInvalid, match=words):
        inject(build_model("llama"), AdapterSettings(**settings), seed=0, token_ids=tokens)
    with pytest.raises(RecipeInvalid, match="no table of token vectors"):
        build_trained_tokens(nn.Linear(2, 2), [0])


def test_a_file_that_lacks_what_its_settings_name_is_refused(tmp_path: Path) -> None:
    adapter = inject(build_model("llama"), _settings(("lm_head",)), seed=1, token_ids=(4,))
    save_adapter(adapter, tmp_path / "a", base_model="x")
    path = tmp_path / "a" / "adapter_config.json"
    content = json.loads(path.read_text())
    assert content["modules_to_save"] == ["lm_head"]
    assert content["trainable_token_indices"] == {"embed_tokens": [4]}
    for changes, words in (
        ({"modules_to_save": ["lm_head", "score"]}, "lacks the module 'score'"),
        ({"trainable_token_indices": {"embed_tokens": [4, 5]}}, "other tokens"),
        ({"modules_to_save": None}, "replaces the whole of lm_head"),
    ):
        path.write_text(json.dumps(content | changes))
        with torch.no_grad():
            other = build_model("llama", seed=3)
        with pytest.raises(AdapterUnusable, match=words):
            load_adapter(other, tmp_path / "a")
