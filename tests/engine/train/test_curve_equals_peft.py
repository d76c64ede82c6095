"""A run of twenty steps has the curve of peft with a plain torch loop."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import transformers

from studio.core.events.types import StepFinished, ValidationFinished
from studio.core.recipe.load import load_recipe
from studio.engine.data.loader import iter_steps
from studio.engine.data.prepare import PreparedData, prepare
from studio.engine.lora.inject import inject
from studio.engine.lora.state import save_adapter
from studio.engine.models.files import load_tokenizer
from tests.engine.tiny_run import build_base, build_run, of_type, train_run

pytestmark = [
    pytest.mark.referee,
    # peft asks transformers for a property by its old name
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]
STEPS, BATCH, RATE, SEED = 20, 4, 0.01, 42


def _iter_plain_documents(data: PreparedData) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Returns the steps as (ids, labels) of whole documents, unshifted, -100 where not trained."""
    steps = []
    for epoch in range(STEPS):
        plans = iter_steps(
            data.train, batch_sequences=BATCH, micro_batch_tokens=9999, seed=SEED, epoch=epoch
        )
        for plan in plans:
            documents = []
            for position in plan.documents:
                example = data.train[position]
                ids = torch.tensor(example.ids.astype("int64"))
                flags = torch.tensor(example.supervised)
                documents.append((ids, torch.where(flags, ids, -100)))
            steps.append(documents)
    return steps[:STEPS]


CASES = {
    "llama": ("llama", "all-linear"),
    "gpt2": ("gpt2", "all-linear"),
    "qwen3": ("qwen3", "all-linear"),
    "adapted head": ("llama", ["q_proj", "lm_head"]),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_follow_those_of_peft(case: str, tmp_path: Path, tiny_chats: Path) -> None:
    family, targets = CASES[case]
    base = build_base(tmp_path / "base", family)
    start = transformers.AutoModelForCausalLM.from_pretrained(base, trust_remote_code=False)
    layout = build_run(
        tmp_path / "run",
        base,
        tiny_chats,
        steps=STEPS,
        batch_sequences=BATCH,
        learning_rate=RATE,
        weight_decay=0.01,
        schedule="linear",
        warmup_fraction=0.0,
        micro_batch_tokens=120,
        seed=SEED,
        evaluate_every_steps=STEPS,
        adapter={"targets": targets},
    )
    recipe = load_recipe(layout.recipe)
    data = prepare(recipe.data, load_tokenizer(base), 256, base_folder=base)
    events = train_run(layout)
    ours = [event.loss for event in of_type(events, StepFinished)]

    adapter = inject(start, recipe.adapter, seed=SEED)
    save_adapter(adapter, tmp_path / "start", base_model=str(base))
    adapter.detach()
    model = peft.PeftModel.from_pretrained(start, tmp_path / "start", is_trainable=True).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    theirs = []
    for documents in _iter_plain_documents(data):
        sums = [
            F.cross_entropy(model(ids[None]).logits[0, :-1], labels[1:], reduction="sum")
            for ids, labels in documents
        ]
        loss = sum(sums) / sum(int((labels[1:] != -100).sum()) for _, labels in documents)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        theirs.append(loss.item())
    assert theirs[-1] < theirs[0] - 0.3
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-4, atol=1e-4)

    model.eval()
    rows = [data.validation[position] for position in range(len(data.validation))]
    total, tokens = 0.0, 0
    for row in rows:
        ids = torch.tensor(row.ids.astype("int64"))
        labels = torch.where(torch.tensor(row.supervised), ids, -100)
        with torch.no_grad():
            logits = model(ids[None]).logits[0, :-1]
        total += float(F.cross_entropy(logits, labels[1:], reduction="sum"))
        tokens += int((labels[1:] != -100).sum())
    (validation,) = of_type(events, ValidationFinished)
    assert validation.supervised_tokens == tokens
    assert validation.loss == pytest.approx(total / tokens, rel=1e-3)
