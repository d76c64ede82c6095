"""The model card says what the hub wants to know, from recorded facts, and nothing private."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from studio.core.events.types import DataPrepared
from studio.core.jobs.orders import ExportOrder
from studio.core.recipe.load import parse_recipe
from studio.core.runs.record import RunRecord
from studio.engine.export.card import build_card, write_card
from studio.engine.export.card_facts import CardFacts, find_hub_name, read_licence
from studio.engine.export.certificate import Certificate, Verdict

PRIVATE = "/home/somebody/secret"


def build_facts(**changes: Any) -> CardFacts:
    recipe = parse_recipe(
        {
            "name": "talk",
            "base": {"model": f"{PRIVATE}/tiny-base"},
            "data": {
                "train": [{"source": f"{PRIVATE}/mails.jsonl"}, {"source": "org/open-set"}],
                "template": f"{PRIVATE}/own.jinja",
            },
            "adapter": {"resume_from": f"{PRIVATE}/older"},
        }
    )
    record = RunRecord(
        step=40,
        epoch=2.0,
        first_loss=3.0,
        last_loss=0.5,
        best_validation_loss=0.75,
        data=DataPrepared(
            train_rows=90,
            validation_rows=10,
            train_tokens=900,
            supervised_tokens=400,
            max_tokens=64,
            truncated_rows=0,
        ),
    )
    verdict = Verdict("Hello", 16, 16, 1e-7, 1e-6, 1e-5)
    values: dict[str, Any] = {
        "order": ExportOrder(adapter="a", target="adapter", out="o", name="talk"),
        "base": "org/tiny-base",
        "hub_base": "org/tiny-base",
        "licence": {"license": "apache-2.0"},
        "certificate": Certificate("adapter", "f32", "transformers", (verdict,), ()),
        "files": ("adapter_config.json",),
        "recipe": recipe,
        "record": record,
    }
    return CardFacts(**(values | changes))


def test_the_hub_reads_the_header(tmp_path: Path) -> None:
    card = ModelCard.load(write_card(build_facts(), tmp_path))
    data = card.data.to_dict()
    assert data["base_model"] == "org/tiny-base"
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "peft"
    assert data["datasets"] == ["org/open-set"]
    assert {"lora", "lora-studio"} <= set(data["tags"])
    results = {one.metric_type: one for one in card.data.eval_results}
    assert results["loss"].metric_value == 0.75
    assert results["loss"].dataset_type == "org/open-set"
    assert results["perplexity"].metric_value == pytest.approx(2.117)
    assert results["accuracy"].metric_value == 1.0
    assert results["kl_divergence"].metric_value == pytest.approx(1e-7, abs=1e-6)
    assert card.data.model_name == "talk"
    for words in ("0.5000", "0.7500", "mails.jsonl", "rank: 16", "100.0%", "apache-2.0"):
        assert words in card.text


def test_no_place_on_this_machine_is_told() -> None:
    text = build_card(build_facts())
    assert PRIVATE not in text
    assert "own.jinja" in text


def test_a_failed_certificate_is_told_first() -> None:
    failed = Certificate("adapter", "f32", "x", (), ("the template | is <b>another</b> one",))
    text = build_card(build_facts(certificate=failed))
    assert "**Not verified.** the template   is  b another /b  one." in text


@pytest.mark.parametrize(
    ("target", "library", "relation"),
    [("merged", "transformers", "finetune"), ("gguf", "gguf", "quantized")],
)
def test_each_kind_of_export_has_its_words(
    target: Any, library: str, relation: str, tmp_path: Path
) -> None:
    order = ExportOrder(adapter="a", target=target, out="o", name="talk")
    facts = build_facts(order=order, recipe=None, record=None, licence={})
    card = ModelCard.load(write_card(facts, tmp_path))
    data = card.data.to_dict()
    assert (data["library_name"], data["base_model_relation"]) == (library, relation)
    assert "license" not in data
    assert {one.metric_type for one in card.data.eval_results} == {"accuracy", "kl_divergence"}
    assert "does not say under which licence" in card.text


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({"README.md": "---\nlicense: llama3.2\nlicense_link: l\n---\n# x"},
         {"license": "llama3.2", "license_link": "l"}),
        ({"LICENSE": "   Apache License\n Version 2.0"}, {"license": "apache-2.0"}),
        ({"LICENSE.txt": "Terms of Some Lab"}, {"license": "other", "license_name": "LICENSE.txt"}),
        ({"README.md": "---\n{broken: [\n---\n", "LICENSE": "MIT License"}, {"license": "mit"}),
        ({}, {}),
    ],
)  # fmt: skip
def test_the_licence_is_the_one_of_the_base(
    files: dict[str, str], licence: dict[str, str], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert read_licence(tmp_path) == licence


def test_the_name_on_the_hub_is_known_from_the_cache_too(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--tiny-base" / "snapshots" / ("a" * 40)
    assert find_hub_name(str(snapshot), snapshot) == "org/tiny-base"
    assert find_hub_name("org/tiny-base", tmp_path) == "org/tiny-base"
    assert find_hub_name(str(tmp_path), tmp_path) is None
