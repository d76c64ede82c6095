"""The recipe format: every setting with its label, help, range and default, exactly once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from studio.core.recipe.knob import Section, knob
from studio.core.recipe.schema_data import DataSettings
from studio.core.recipe.schema_train import TrainSettings

FORMAT_VERSION = 1

Task = Literal[
    "causal_lm",
    "sequence_classification",
    "seq2seq",
    "image_classification",
    "speech_recognition",
    "preference",
]
Init = Literal["kaiming", "gaussian", "pissa", "pissa_fast", "olora", "loftq", "eva"]


class BaseSettings(Section):
    """Which frozen model is adapted and how its weights are held."""

    model: str = knob(
        ...,
        "Base model",
        "The model to adapt: a folder with safetensors weights, or the name of a model on the hub "
        "that is already on this machine.",
        level="essential",
        editor="model",
        min_length=1,
    )
    revision: str | None = knob(
        None,
        "Revision",
        "The exact version (commit) of a hub model. Filled in when the run starts, so that the run "
        "can be repeated.",
    )
    quantisation: Literal["none", "int8", "nf4"] = knob(
        "none",
        "Quantisation",
        "Hold the frozen weights in fewer bits to save memory. The adapter itself is always "
        "trained in full precision. Models whose files hold 4 or 8 bits already stay so.",
        level="essential",
        choices={
            "none": "Weights as they are in the file: exact and fastest.",
            "int8": "8 bits per weight: half the memory of 16-bit weights.",
            "nf4": "4 bits per weight (QLoRA): a quarter of the memory, a little slower.",
        },
    )
    offload: Literal["none", "auto", "layers"] = knob(
        "none",
        "Offload the base",
        "Whether the frozen weights stay on the graphics card or in the computer's memory, from "
        "where each layer visits the card when it is its turn. A model larger than the card can "
        "then be trained, slowly; the plan shows how slowly.",
        choices={
            "none": "On the card: fastest.",
            "auto": "On the card if it fits there, else in the computer's memory.",
            "layers": "In the computer's memory; only two layers are on the card at a time.",
        },
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = knob(
        "auto",
        "Number format",
        "The number format for computing. Auto takes bfloat16 on cards that support it and float32 "
        "elsewhere.",
        later={"float16"},
    )
    attention: Literal["auto", "sdpa", "flex", "flash"] = knob(
        "auto",
        "Attention",
        "Which implementation of attention is used. The results are the same; speed differs. "
        "Every implementation is compared with torch's own before it is trusted.",
        choices={
            "auto": "The fastest that the device has and that gives the same results.",
            "sdpa": "Torch's own: on every device.",
            "flex": "Torch's flexible attention: has to be compiled at the start of every run.",
            "flash": "Flash attention for examples of different lengths: torch's, or the package "
            "flash-attn where it is installed.",
        },
    )


class AdapterOverride(Section):
    """Another rank or alpha for the modules whose name matches a pattern."""

    match: str = knob(
        ...,
        "Modules",
        "Pattern of module names, for example *.mlp.* ; the first matching line wins.",
        min_length=1,
    )
    rank: int | None = knob(None, "Rank", "Rank for these modules.", ge=1, le=4096)
    alpha: float | None = knob(None, "Alpha", "Alpha for these modules.", gt=0, le=65536)


class AdapterSettings(Section):
    """The low-rank update: how large it is and where it sits."""

    rank: Literal["full"] | Annotated[int, Field(ge=1, le=4096)] = knob(
        16,
        "Rank",
        "How much the adapter can learn. 8 to 16 suits style and format, 32 to 64 suits new "
        "knowledge and large data sets. Memory and file size grow with it. Full trains the "
        "weights themselves and writes a whole model: many times the memory, and about a tenth of "
        "the learning rate.",
        level="essential",
    )
    alpha: float = knob(
        32.0,
        "Alpha",
        "How strongly the adapter acts: the update is multiplied by alpha / rank. Twice the rank "
        "is a good start.",
        level="essential",
        gt=0,
        le=65536,
    )
    dropout: float = knob(
        0.0,
        "Dropout",
        "Share of inputs that are randomly ignored while training. 0.05 helps against learning by "
        "heart when there are fewer than about 2,000 rows.",
        ge=0,
        lt=1,
        step=0.01,
    )
    targets: Literal["all-linear", "attention", "mlp"] | tuple[str, ...] = knob(
        "all-linear",
        "Target modules",
        "Which layers get an adapter. All linear layers learns best; attention only is smaller.",
        level="essential",
        choices={
            "all-linear": "Every linear layer except the output head (recommended).",
            "attention": "Only the attention projections.",
            "mlp": "Only the feed-forward layers.",
        },
    )
    layers: Literal["all"] | str | tuple[int, ...] = knob(
        "all",
        "Layers",
        "Which decoder layers are adapted: all, a range such as 8-23, or numbers such as 0,4,8. "
        "Counting starts at 0.",
        editor="layers",
    )
    overrides: tuple[AdapterOverride, ...] = knob(
        (),
        "Exceptions",
        "Another rank or alpha for some modules.",
    )
    variant: Literal["plain", "rslora", "dora"] = knob(
        "plain",
        "Variant",
        "The form of the update.",
        choices={
            "plain": "LoRA as published: scale is alpha / rank.",
            "rslora": "Scale is alpha / square root of rank: steadier at ranks of 64 and more.",
            "dora": "Magnitude and direction are learnt separately: slower, sometimes better.",
        },
    )
    init: Init = knob(
        "kaiming",
        "Start values",
        "How the adapter starts. Kaiming starts as no change at all and suits nearly everything.",
        choices={
            "kaiming": "Small random numbers, as most adapters start.",
            "gaussian": "Random numbers of the paper that introduced adapters.",
            "pissa": "The main directions of each layer's weights; wants a smaller learning rate.",
            "pissa_fast": "As pissa, approximated: starts much sooner on large models.",
            "olora": "Directions at right angles to each other, taken from each layer's weights.",
            "loftq": "What quantisation took away from the weights; only with a quantised base.",
            "eva": "The main directions of what each layer sees in your data.",
        },
    )
    keep_zeros: bool = knob(
        False,
        "Keep zeros",
        "For a base in which many weights are zero (lora-studio prune): the adapter learns to do "
        "without them, so that merging loses nothing and the merged model is as sparse as its "
        "base. Adapted layers take about two and a half times the computing. Other tools cannot "
        "apply such an adapter beside a base; export the merged model for them.",
    )
    extra_modules: tuple[str, ...] = knob(
        (),
        "Modules trained in full",
        "Modules that are trained completely and saved along with the adapter, for example a new "
        "classification head. They carry no adapter beside that. For a language that the base has "
        "never seen, its tables of word vectors (embed_tokens and lm_head) help more than a "
        "higher rank.",
    )
    trained_tokens: tuple[str, ...] = knob(
        (),
        "Tokens trained",
        "Tokens of the vocabulary whose own vectors are trained, for example special tokens that "
        "the base model has never seen. All other vectors stay as they are.",
    )
    resume_from: str | None = knob(
        None,
        "Continue an adapter",
        "A folder with an adapter (PEFT format) of the same base model to go on from.",
        editor="folder",
    )


class Recipe(Section):
    """Everything a user chose for one run."""

    version: Literal[1] = knob(FORMAT_VERSION, "Format version", "Version of the recipe format.")
    name: str = knob(
        "untitled",
        "Name",
        "What you call this run. It also names the folder of the result.",
        level="essential",
        min_length=1,
        max_length=100,
    )
    task: Task = knob(
        "causal_lm",
        "Task",
        "What the model learns to do.",
        later={
            "sequence_classification",
            "seq2seq",
            "image_classification",
            "speech_recognition",
            "preference",
        },
        choices={
            "causal_lm": "Write text: chat, instructions, continuation.",
            "sequence_classification": "Sort texts into classes.",
            "seq2seq": "Turn one text into another.",
            "image_classification": "Sort pictures into classes.",
            "speech_recognition": "Turn speech into text.",
            "preference": "Prefer better answers over worse ones.",
        },
    )
    base: BaseSettings
    data: DataSettings
    adapter: AdapterSettings = AdapterSettings()
    train: TrainSettings = TrainSettings()
