"""Real small models learn from real data, and other tools read what comes out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import peft
import pytest
import torch
import transformers

from studio.core.events.types import ExportFinished, SampleAnswered, ValidationFinished
from studio.core.jobs.orders import ExportOrder
from studio.core.runs.layout import RunLayout
from studio.engine.infer.generate import iter_tokens
from studio.engine.infer.sampling import Sampling
from studio.engine.jobs import export
from studio.engine.lora.state import load_adapter
from studio.engine.models.files import load_tokenizer
from studio.engine.models.load import load_model
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run

pytestmark = [
    pytest.mark.material,
    pytest.mark.referee,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def restaurants(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Meaning and description of restaurants (E2E), 600 rows as prompt and answer."""
    path = tmp_path_factory.mktemp("data") / "e2e.jsonl"
    with (material / "data/e2e/devset.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for _, row in zip(range(600), csv.DictReader(stream), strict=False)]
    path.write_text(
        "\n".join(
            json.dumps({"prompt": row["mr"] + " ->", "response": " " + row["ref"]}) for row in rows
        )
    )
    return path


@pytest.fixture(scope="module")
def trained(
    material: Path, restaurants: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunLayout, list[float]]:
    base = material / "models/stories260K-hf"
    layout = build_run(
        tmp_path_factory.mktemp("runs") / "run",
        base,
        restaurants,
        steps=60,
        batch_sequences=8,
        learning_rate=5e-3,
        validation=0.05,
        adapter={"rank": 16, "alpha": 32.0},
        sample_prompts=["name[Loch Fyne], food[Japanese] ->"],
    )
    events = train_run(layout)
    assert of_type(events, SampleAnswered)[-1].answer
    return layout, [event.loss for event in of_type(events, ValidationFinished)]


def test_the_validation_loss_falls_far(trained: tuple[RunLayout, list[float]]) -> None:
    losses = trained[1]
    # 4.28 before tuning says the manifest of the material
    assert losses[0] < 4.28
    assert losses[-1] < 1.9
    assert losses[-1] < losses[0] - 0.5


def test_adapter_and_merged_model_give_the_same_logits_elsewhere(
    trained: tuple[RunLayout, list[float]], material: Path, tmp_path: Path
) -> None:
    folder, adapter = material / "models/stories260K-hf", trained[0].adapter
    ours = load_model(folder, torch.float32, CPU)
    load_adapter(ours, adapter)
    text = "name[Loch Fyne], food[Japanese] -> Loch Fyne serves"
    ids = torch.tensor([load_tokenizer(folder)(text)["input_ids"]])
    expected = ours.eval()(ids).logits

    base = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    loaded = peft.PeftModel.from_pretrained(base, adapter).eval()
    torch.testing.assert_close(loaded(ids).logits, expected, rtol=1e-4, atol=1e-4)

    order = ExportOrder(adapter=str(adapter), target="merged", out=str(tmp_path / "merged"))
    control = ScriptedControl(RunLayout(tmp_path))
    (finished,) = of_type(list(export.run(order, RunLayout(tmp_path), control)), ExportFinished)
    assert finished.is_verified
    merged = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged", trust_remote_code=False
    )
    torch.testing.assert_close(merged.eval()(ids).logits, expected, rtol=1e-3, atol=1e-3)


def test_greedy_answers_equal_the_golden_ones_of_the_base(material: Path) -> None:
    golden = json.loads((material / "models/stories260K-golden.json").read_text())["greedy"]
    model = load_model(material / "models/stories260K-hf", torch.float32, CPU)
    for case in golden[:3]:
        prompt, expected = case["prompt_ids"], case["output_ids"]
        expected = expected[len(prompt) :] if expected[: len(prompt)] == prompt else expected
        sampling = Sampling(max_new_tokens=len(expected))
        assert list(iter_tokens(model, prompt, sampling, {1, 2}, 512)) == expected
