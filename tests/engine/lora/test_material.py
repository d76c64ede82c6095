"""A real adapter made by peft answers here as it answered there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from studio.engine.export.merged import export_merged
from studio.engine.lora.state import load_adapter

pytestmark = pytest.mark.material


def _answer(
    model: torch.nn.Module, tokenizer: transformers.PreTrainedTokenizerFast, mr: str
) -> str:
    """Returns the greedy answer; it ends at token 1 or 2, or after 110 tokens."""
    prompt = tokenizer(f"{mr} =>", return_tensors="pt").input_ids
    with torch.no_grad():
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=110,
            eos_token_id=[1, 2],
            pad_token_id=2,
        )
    return str(tokenizer.decode(output[0, prompt.shape[1] :], skip_special_tokens=True)).strip()


@pytest.mark.slow
@pytest.mark.parametrize("is_merged", [False, True])
def test_all_hundred_answers_of_a_real_adapter_are_reproduced(
    material: Path, is_merged: bool, tmp_path: Path
) -> None:
    base = material / "models" / "stories260K-hf"
    folder = material / "adapters" / "stories260K-e2e-lora-qv8"
    rows = json.loads((folder / "expected_outputs.json").read_text())["rows"]
    if is_merged:
        list(export_merged(base, folder, tmp_path / "merged"))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged" if is_merged else base,
        dtype=torch.float32,
        trust_remote_code=False,
        use_safetensors=True,
    ).eval()
    if not is_merged:
        load_adapter(model, folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    assert len(rows) == 100
    for row in rows:
        assert _answer(model, tokenizer, row["mr"]) == row["out"]
