"""The training part of the recipe: how long, how fast, and what is kept."""

from __future__ import annotations

from typing import Literal

from studio.core.recipe.knob import AutoCount, Section, knob


class TrainSettings(Section):
    """How the adapter is trained."""

    epochs: float = knob(
        2.0,
        "Epochs",
        "How many times every row is seen. 1 to 3 is usual; more tends to memorise.",
        level="essential",
        gt=0,
        le=1000,
        step=0.5,
    )
    steps: int | None = knob(
        None,
        "Steps",
        "Stop after this many optimizer steps, whatever the number of epochs. Empty means: as the "
        "epochs say.",
        unit="steps",
        ge=1,
    )
    batch_sequences: int = knob(
        16,
        "Batch size",
        "Examples per optimizer step. Memory does not depend on it, because a batch is worked "
        "through in pieces.",
        unit="examples",
        level="essential",
        ge=1,
        le=65536,
    )
    micro_batch_tokens: AutoCount = knob(
        "auto",
        "Tokens at once",
        "How many tokens are computed at the same time. It changes memory and speed, never the "
        "result.",
        unit="tokens",
    )
    learning_rate: float = knob(
        2.0e-4,
        "Learning rate",
        "How far each step goes. 2e-4 suits most adapters; halve it when the loss jumps, double it "
        "when it hardly moves.",
        level="essential",
        gt=0,
        le=1,
    )
    lora_plus_ratio: float = knob(
        1.0,
        "LoRA+ ratio",
        "Values above 1 let the second adapter matrix (B) learn that many times faster than A.",
        gt=0,
        le=1024,
    )
    schedule: Literal["constant", "linear", "cosine"] = knob(
        "cosine",
        "Schedule",
        "How the learning rate changes during the run.",
        choices={
            "constant": "The same rate until the end.",
            "linear": "Falls in a straight line to zero.",
            "cosine": "Stays high in the first half and falls smoothly to zero.",
        },
    )
    warmup_fraction: float = knob(
        0.03,
        "Warm-up",
        "Share of the steps in which the learning rate rises from zero.",
        ge=0,
        lt=1,
        step=0.01,
    )
    optimizer: Literal[
        "adamw", "adamw8bit", "adamw_paged", "lion", "adafactor", "muon", "schedule_free"
    ] = knob(
        "adamw",
        "Optimizer",
        "The rule that turns gradients into steps.",
        choices={
            "adamw": "The usual choice.",
            "adamw8bit": "AdamW that remembers in 8 bits: a quarter of its memory.",
            "adamw_paged": "AdamW whose memory lies in the computer's, not on the card. The same "
            "result, each step a little slower.",
            "lion": "Half the memory of AdamW; wants a learning rate three to ten times lower.",
            "adafactor": "Nearly no memory of its own.",
            "muon": "Moves all directions of a matrix alike; half the memory of AdamW.",
            "schedule_free": "AdamW that keeps an average instead of lowering the rate: the result "
            "is good whenever you stop. Wants about twice the learning rate.",
        },
    )
    weight_decay: float = knob(
        0.0, "Weight decay", "Pulls adapter weights towards zero.", ge=0, le=1, step=0.01
    )
    max_gradient_norm: float = knob(
        1.0,
        "Gradient limit",
        "Longer gradients are shortened to this length, which prevents jumps. 0 turns it off.",
        ge=0,
        le=1000,
    )
    label_smoothing: float = knob(
        0.0,
        "Label smoothing",
        "Share of every target that is spread evenly over all tokens, so that the model does not "
        "become too sure of itself. Rarely needed; 0.1 is usual where it is. The training loss is "
        "shown with it, the validation loss without.",
        ge=0,
        lt=1,
        step=0.01,
    )
    checkpointing: Literal["none", "auto", "mlp", "all", "offload"] = knob(
        "auto",
        "Save memory by recomputing",
        "Recompute intermediate results instead of keeping them: less memory, but slower.",
        choices={
            "none": "Keep everything: fastest.",
            "auto": "Recompute only when memory is short, and only as much as needed.",
            "mlp": "Recompute the widest part of each layer: half the memory, a fifth slower.",
            "all": "Recompute every layer: least memory, about a third slower.",
            "offload": "Recompute nothing, move it to the computer's memory meanwhile: little "
            "memory on the card; as slow as the way there.",
        },
    )
    evaluate_every_steps: AutoCount = knob(
        "auto",
        "Validate every",
        "How often the validation loss is measured. Auto measures about ten times per run.",
        unit="steps",
    )
    checkpoint_every_minutes: float = knob(
        5.0,
        "Save every",
        "How often the state is saved, so that at most this much work can be lost.",
        unit="minutes",
        gt=0,
        le=1440,
    )
    keep_checkpoints: int = knob(
        2,
        "Checkpoints kept",
        "How many recent checkpoints stay on disk. The latest and the best always stay.",
        ge=1,
        le=100,
    )
    early_stopping_patience: int = knob(
        3,
        "Stop early after",
        "End the run when the validation loss has not improved this many times in a row. 0 turns "
        "it off.",
        unit="validations",
        ge=0,
        le=1000,
    )
    sample_prompts: tuple[str, ...] = knob(
        (),
        "Sample prompts",
        "Prompts that base and adapter answer during the run, so that you can read the progress.",
    )
    sample_every_steps: AutoCount = knob(
        "auto", "Answer samples every", "How often the sample prompts are answered.", unit="steps"
    )
    keep_row_losses: bool = knob(
        True,
        "Watch every row",
        "Keep what each row cost each time it was learnt from: a few bytes per row, hardly any "
        "time. Afterwards you see rows that were never learnt, forgotten, or look mislabelled.",
    )
    seed: int = knob(
        42,
        "Seed",
        "The same seed on the same machine repeats the run exactly.",
        ge=0,
        le=2**31 - 1,
    )
    devices: Literal["auto", "cpu"] | str | int = knob(
        "auto",
        "Device",
        "Where to compute: auto takes the graphics card when there is one; cpu; cuda:0 for one "
        "certain card; or a number of cards.",
        editor="device",
    )
