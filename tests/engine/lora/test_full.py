"""The rank full trains weights themselves: the whole model or chosen parts, through one engine."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import transformers

from studio.core.recipe.schema import AdapterSettings
from studio.engine.export.merged import export_merged
from studio.engine.lora.inject import inject
from studio.engine.lora.state import load_adapter, save_adapter
from tests.engine.lora.tiny_models import build_batch, build_model, compute_loss

TIED = {"tie_word_embeddings": True}
CASES = {
    "llama": ("llama", {}),
    "llama tied": ("llama", TIED),
    "gpt2, tied from birth": ("gpt2", {}),
    "gemma3 tied": ("gemma3", TIED),
}


@pytest.mark.parametrize("case", CASES)
def test_every_weight_learns_as_with_plain_torch(case: str, tmp_path: Path) -> None:
    family, changes = CASES[case]
    model, ids = build_model(family, **changes), build_batch()
    plain = copy.deepcopy(model)
    model.save_pretrained(tmp_path / "base")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    adapter = inject(model, AdapterSettings(rank="full"), seed=1)
    assert adapter.trainable_parameters == sum(p.numel() for p in plain.parameters())
    curves = []
    for network, parameters in (
        (model, adapter.parameters()),
        (plain, list(plain.parameters())),
    ):
        optimizer = torch.optim.SGD(parameters, lr=0.3)
        losses = []
        for step in range(5):
            loss = compute_loss(network, build_batch(seed=step))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    torch.testing.assert_close(curves[0], curves[1], rtol=1e-5, atol=1e-5)

    save_adapter(adapter, tmp_path / "full", base_model="base")
    list(export_merged(tmp_path / "base", tmp_path / "full", tmp_path / "merged"))
    expected = plain.eval()(input_ids=ids).logits
    merged = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged", trust_remote_code=False, use_safetensors=True
    ).eval()
    torch.testing.assert_close(merged(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)
    assert merged.config.tie_word_embeddings is plain.config.tie_word_embeddings

    adapter.detach()
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    load_adapter(model, tmp_path / "full")
    torch.testing.assert_close(model.eval()(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_tied_tables_in_full_are_one_weight_for_peft_as_well(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, ids = build_model("llama", **TIED).eval(), build_batch()
    config = peft.LoraConfig(
        r=2,
        target_modules=["q_proj"],
        modules_to_save=["embed_tokens"],
        ensure_weight_tying=True,
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    reference = peft.get_peft_model(copy.deepcopy(model), config).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    expected = reference(input_ids=ids).logits
    reference.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["ensure_weight_tying"]
    load_adapter(model, tmp_path)
    torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"targets": "mlp", "layers": "1"}, {"gate_proj", "up_proj", "down_proj"}),
        ({"targets": ("q_proj", "lm_head")}, {"q_proj", "lm_head"}),
        ({"targets": ("v_proj",), "extra_modules": ("norm",)}, {"v_proj", "norm"}),
    ],
)
def test_only_chosen_modules_learn(settings: dict[str, object], expected: set[str]) -> None:
    model = build_model("llama")
    adapter = inject(model, AdapterSettings(rank="full", **settings), seed=1)
    assert {name.rpartition(".")[2] for name in adapter.extras} == expected
    assert not adapter.modules
    compute_loss(model, build_batch()).backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())


def test_a_bfloat16_base_is_trained_in_fp32_and_computes_in_bfloat16() -> None:
    model = build_model("llama", dtype=torch.bfloat16)
    adapter = inject(model, AdapterSettings(rank="full"), seed=1)
    assert {parameter.dtype for parameter in adapter.parameters()} == {torch.float32}
    assert model(input_ids=build_batch()).logits.dtype == torch.bfloat16
    compute_loss(model, build_batch()).backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())
