"""The recipe's words choose the modules that a person means, in every family."""

from __future__ import annotations

import pytest
import torch
import transformers

from studio.core.errors import NotAvailableYet, RecipeInvalid
from studio.core.recipe.schema import AdapterOverride, AdapterSettings
from studio.engine.lora.inject import inject
from studio.engine.lora.targets import find_targets
from tests.engine.lora.tiny_models import build_batch, build_model

LLAMA_LIKE = (
    {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"},
    {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
)
PARTS = {
    "llama": LLAMA_LIKE,
    "qwen3": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "gemma3": LLAMA_LIKE,
    "phi": (
        {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense"},
        {"mlp.fc1", "mlp.fc2"},
    ),
    "gpt_neox": (
        {"attention.query_key_value", "attention.dense"},
        {"mlp.dense_h_to_4h", "mlp.dense_4h_to_h"},
    ),
    "gpt2": ({"attn.c_attn", "attn.c_proj"}, {"mlp.c_fc", "mlp.c_proj"}),
}


def _find(family: str, **settings: object) -> list[str]:
    return [
        target.name for target in find_targets(build_model(family), AdapterSettings(**settings))
    ]


def _strip(names: list[str]) -> set[str]:
    """Returns the names inside their layer, without ``model.layers.0.``."""
    parts = [name.split(".") for name in names]
    return {
        ".".join(part[next(i for i, s in enumerate(part) if s.isdigit()) + 1 :]) for part in parts
    }


@pytest.mark.parametrize("family", PARTS)
def test_attention_mlp_and_all_linear_are_what_each_family_calls_so(family: str) -> None:
    attention, mlp = PARTS[family]
    assert _strip(_find(family, targets="attention")) == attention
    assert _strip(_find(family, targets="mlp")) == mlp
    everything = _find(family, targets="all-linear")
    assert _strip(everything) == attention | mlp
    assert len(everything) == 2 * len(attention | mlp)


def test_heads_are_left_out_unless_they_are_named() -> None:
    assert "lm_head" not in _find("llama")
    assert _find("llama", targets=("lm_head",)) == ["lm_head"]
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=4, num_labels=3,
    )  # fmt: skip
    classifier = transformers.AutoModelForSequenceClassification.from_config(
        config, trust_remote_code=False
    )
    names = [target.name for target in find_targets(classifier, AdapterSettings())]
    assert "score" not in names
    assert len(names) == 7


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        (("q_proj",), 2),
        (("self_attn.q_proj", "v_proj"), 4),
        (("model.layers.*.mlp.*",), 6),
        (("*layers.0.*",), 7),
        (("embed_tokens",), 1),
    ],
)
def test_patterns_match_ends_and_whole_names(patterns: tuple[str, ...], count: int) -> None:
    assert len(_find("llama", targets=patterns)) == count


def test_a_pattern_that_matches_nothing_is_refused_with_near_names() -> None:
    with pytest.raises(RecipeInvalid, match=r"'q_prj' matches no layer") as caught:
        _find("llama", targets=("q_proj", "q_prj"))
    assert "q_proj" in caught.value.remedy
    with pytest.raises(RecipeInvalid, match="matches none of the target modules"):
        _find("llama", overrides=(AdapterOverride(match="*.attn.*", rank=2),))


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [("0-1", {0, 1}), ("2,4-5", {2, 4, 5}), ((1, 3), {1, 3}), ("all", set(range(6)))],
)
def test_layers_are_chosen_by_range_list_and_word(layers: object, chosen: set[int]) -> None:
    model = build_model("llama", num_hidden_layers=6)
    targets = find_targets(model, AdapterSettings(targets=("q_proj",), layers=layers))
    assert {int(target.name.split(".")[2]) for target in targets} == chosen


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RecipeInvalid, match="layer 2 does not exist, the model has 2"):
        _find("llama", layers="1-2")


def test_exceptions_change_rank_and_alpha_and_the_first_line_wins() -> None:
    settings = AdapterSettings(
        rank=8,
        alpha=16,
        overrides=(
            AdapterOverride(match="*.0.mlp.*", rank=2),
            AdapterOverride(match="*.mlp.*", rank=4, alpha=3),
        ),
    )
    found = {t.name: (t.rank, t.alpha) for t in find_targets(build_model("llama"), settings)}
    assert found["model.layers.0.mlp.up_proj"] == (2, 16)
    assert found["model.layers.1.mlp.up_proj"] == (4, 3)
    assert found["model.layers.1.self_attn.q_proj"] == (8, 16)


def test_what_is_not_built_yet_is_refused_by_name() -> None:
    settings = AdapterSettings().model_copy(update={"init": "corda"})
    with pytest.raises(NotAvailableYet, match=r"corda.*not available yet.*kaiming"):
        inject(build_model("llama"), settings, seed=0)


def test_everything_but_the_adapter_is_frozen_and_counted() -> None:
    model = build_model("llama")
    adapter = inject(model, AdapterSettings(rank=2, targets=("q_proj", "k_proj")), seed=0)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in adapter.named_parameters()}
    # q: 32 -> 32, k: 32 -> 16 (two of four heads), two layers each
    assert adapter.trainable_parameters == 2 * 2 * ((32 + 32) + (32 + 16))


def test_the_seed_alone_decides_the_start_values() -> None:
    draws = [
        inject(build_model("llama", seed=other), AdapterSettings(rank=2), seed=seed).parameters()
        for seed, other in ((1, 0), (1, 9), (2, 0))
    ]
    assert all(torch.equal(a, b) for a, b in zip(draws[0], draws[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(draws[0], draws[2], strict=True))


def test_a_second_adapter_waits_until_the_first_is_detached() -> None:
    model = build_model("llama")
    first = inject(model, AdapterSettings(rank=2), seed=0)
    with pytest.raises(RuntimeError, match="detach it first"):
        inject(model, AdapterSettings(rank=2), seed=0)
    first.detach()
    second = inject(model, AdapterSettings(rank=4), seed=0)
    assert model(input_ids=build_batch()).logits.requires_grad
    assert first.modules.keys() == second.modules.keys()


@pytest.mark.parametrize(("rank", "millions"), [(1, 4.7), (8, 37.7)])
def test_gpt3_has_the_number_of_trainable_parameters_of_the_paper(
    rank: int, millions: float
) -> None:
    """Hu et al. 2021, table 4: GPT-3 175B, 96 layers of width 12,288, query and value adapted."""
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=12288, intermediate_size=64, num_hidden_layers=96,
        num_attention_heads=96,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    adapter = inject(model, AdapterSettings(rank=rank, targets=("q_proj", "v_proj")), seed=0)
    assert round(adapter.trainable_parameters / 1e6, 1) == millions


def test_what_reads_images_gets_no_adapter() -> None:
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 64,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
              "num_attention_heads": 2, "image_size": 28, "patch_size": 14}  # fmt: skip
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=60
    )
    model = transformers.Gemma3ForConditionalGeneration(config)
    read = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    decoder = {name for name in read if ".language_model." in name}
    assert len(decoder) == 14 < len(read - {"lm_head"})
    assert {one.name for one in find_targets(model, AdapterSettings())} == decoder
    with pytest.raises(RecipeInvalid, match=r"layer 2 does not exist"):
        find_targets(model, AdapterSettings(layers="2"))
    named = find_targets(model, AdapterSettings(targets=("*.vision_tower.*.q_proj",)))
    assert len(named) == 3
