"""Real data sets of the material, prepared with real tokenizers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from studio.core.errors import DatasetInvalid
from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.loader import iter_steps
from studio.engine.data.prepare import prepare

pytestmark = pytest.mark.material


def _load(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _settings(source: str, **others: Any) -> DataSettings:
    return DataSettings.model_validate({"train": [{"source": source}], **others})


@pytest.mark.parametrize(
    ("source", "form", "rows"),
    [
        ("gsm8k/train.jsonl", "prompt", 7473),
        ("instruct/instruction-data.json", "alpaca", 1100),
        ("instruct/identity.json", "alpaca", 91),
        ("chat/dummy_conversation.json", "sharegpt", 500),
        ("chat/glaive_toolcall_en_demo.json", "sharegpt", 300),
        ("wikisql_lora/train.jsonl", "text", 1000),
    ],
)
def test_real_files_are_understood(source: str, form: str, rows: int, material: Path) -> None:
    tokenizer = _load(material / "tokenizers/minimind")
    prepared = prepare(_settings(source), tokenizer, None, base_folder=material / "data")
    assert prepared.findings[0].format == form
    assert prepared.findings[0].rows == rows
    left_out = sum(one.count for one in prepared.problems if one.code == "answer_too_long")
    whole = {one.row for one in prepared.train} | {one.row for one in prepared.validation}
    assert len(prepared.lengths) == rows
    assert left_out <= rows // 100
    assert len(whole) + left_out >= rows * 0.94
    assert {one.code for one in prepared.problems} <= {
        *("answer_too_long", "text_divided", "truncated_prompt"),
        *("contradicting_answers", "duplicate_rows", "near_duplicates", "email_address"),
        "unfilled_places",
    }


def test_a_real_table_needs_its_columns_named(material: Path) -> None:
    tokenizer = _load(material / "models/stories260K-hf")
    with pytest.raises(DatasetInvalid, match="'mr' \\(text\\), 'ref' \\(text\\)"):
        prepare(_settings("e2e/devset.csv"), tokenizer, 512, base_folder=material / "data")
    table = {"source": "e2e/devset.csv", "columns": {"prompt": "mr", "answer": "ref"}}
    settings = DataSettings.model_validate({"train": [table], "max_tokens": 512})
    prepared = prepare(settings, tokenizer, 512, base_folder=material / "data")
    with (material / "data/e2e/devset.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(prepared.train) + len(prepared.validation) == len(rows)
    first = prepared.train[0]
    trained = tokenizer.decode(first.ids[first.supervised])
    assert trained == rows[first.row - 1]["ref"] + "</s>"


def test_every_answer_of_gsm8k_is_trained_word_for_word(material: Path) -> None:
    tokenizer = _load(material / "tokenizers/qwen2")
    path = material / "data/gsm8k/train.jsonl"
    settings = _settings(str(path), validation={"fraction": 0}, max_tokens=4096)
    prepared = prepare(settings, tokenizer, 4096, base_folder=material)
    answers = [json.loads(line)["answer"] for line in path.read_text("utf-8").splitlines()]
    trained = [tokenizer.decode(one.ids[one.supervised]) for one in prepared.train]
    assert trained == [f"{answer}<|im_end|>" for answer in answers]


def test_a_base_model_without_template_learns_when_to_stop(material: Path) -> None:
    tokenizer = _load(material / "models/stories260K-hf")
    settings = _settings("instruct/instruction-data.json")
    prepared = prepare(settings, tokenizer, 512, base_folder=material / "data")
    assert prepared.end_of_turn_ids == (tokenizer.eos_token_id,)
    for one in prepared.train:
        assert one.ids[0] == tokenizer.bos_token_id
        assert one.ids[-1] == tokenizer.eos_token_id
        assert one.supervised[-1]


def test_packed_steps_need_as_few_micro_batches_as_possible(material: Path) -> None:
    tokenizer = _load(material / "tokenizers/minimind")
    settings = _settings("gsm8k/train.jsonl", max_tokens=1024)
    prepared = prepare(settings, tokenizer, None, base_folder=material / "data")
    steps = iter_steps(prepared.train, batch_sequences=64, micro_batch_tokens=4096, seed=1, epoch=0)
    for step in steps:
        tokens = sum(micro.tokens for micro in step.micro_batches)
        assert len(step.micro_batches) == -(-tokens // 4096)
