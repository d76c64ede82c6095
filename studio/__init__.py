"""LoRA Studio: fine-tune transformer models with low-rank adapters on one graphics card."""

__version__ = "0.1.0"
