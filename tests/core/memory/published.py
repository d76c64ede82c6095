"""Public sizes of published models, written by hand from their model cards and config files."""

from __future__ import annotations

from typing import Any


def llama(
    width: int, layers: int, heads: int, keys: int, inner: int, vocabulary: int, **more: Any
) -> dict[str, Any]:
    """The settings that all Llama-like families share, under their names in ``config.json``."""
    kind = more.pop("model_type", "llama")
    return {
        "model_type": kind,
        "architectures": [f"{kind.title()}ForCausalLM"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
    } | more


def qwen2(*sizes: int, tied: bool = False) -> dict[str, Any]:
    return llama(*sizes, model_type="qwen2", tie_word_embeddings=tied)


def qwen3(*sizes: int, tied: bool = False) -> dict[str, Any]:
    return llama(*sizes, model_type="qwen3", head_dim=128, tie_word_embeddings=tied)


def gemma(kind: str, head: int, *sizes: int) -> dict[str, Any]:
    act = "gelu_pytorch_tanh"
    return llama(
        *sizes, model_type=kind, head_dim=head, hidden_activation=act, tie_word_embeddings=True
    )


def gpt2(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": 1024,
        "vocab_size": 50257,
        "activation_function": "gelu_new",
    }


# name: (config, number of parameters as published, shared heads counted once)
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "Llama-2-7B": (llama(4096, 32, 32, 32, 11008, 32000), 6_738_415_616),
    "Llama-2-13B": (llama(5120, 40, 40, 40, 13824, 32000), 13_015_864_320),
    "Llama-3.2-1B": (
        llama(2048, 16, 32, 8, 8192, 128256, head_dim=64, tie_word_embeddings=True),
        1_235_814_400,
    ),
    "Llama-3.2-3B": (
        llama(3072, 28, 24, 8, 8192, 128256, head_dim=128, tie_word_embeddings=True),
        3_212_749_824,
    ),
    "Llama-3.1-8B": (llama(4096, 32, 32, 8, 14336, 128256), 8_030_261_248),
    "Llama-3.1-70B": (llama(8192, 80, 64, 8, 28672, 128256), 70_553_706_496),
    "Qwen2.5-0.5B": (qwen2(896, 24, 14, 2, 4864, 151936, tied=True), 494_032_768),
    "Qwen2.5-1.5B": (qwen2(1536, 28, 12, 2, 8960, 151936, tied=True), 1_543_714_304),
    "Qwen2.5-3B": (qwen2(2048, 36, 16, 2, 11008, 151936, tied=True), 3_085_938_688),
    "Qwen2.5-7B": (qwen2(3584, 28, 28, 4, 18944, 152064), 7_615_616_512),
    "Qwen2.5-14B": (qwen2(5120, 48, 40, 8, 13824, 152064), 14_770_033_664),
    "Qwen2.5-32B": (qwen2(5120, 64, 40, 8, 27648, 152064), 32_763_876_352),
    "Qwen2.5-72B": (qwen2(8192, 80, 64, 8, 29568, 152064), 72_706_203_648),
    "Qwen3-0.6B": (qwen3(1024, 28, 16, 8, 3072, 151936, tied=True), 596_049_920),
    "Qwen3-1.7B": (qwen3(2048, 28, 16, 8, 6144, 151936, tied=True), 1_720_574_976),
    "Qwen3-4B": (qwen3(2560, 36, 32, 8, 9728, 151936, tied=True), 4_022_468_096),
    "Qwen3-8B": (qwen3(4096, 36, 32, 8, 12288, 151936), 8_190_735_360),
    "Mistral-7B-v0.1": (
        llama(4096, 32, 32, 8, 14336, 32000, model_type="mistral"),
        7_241_732_096,
    ),
    "Mistral-7B-v0.3": (
        llama(4096, 32, 32, 8, 14336, 32768, model_type="mistral"),
        7_248_023_552,
    ),
    "Gemma-2B": (gemma("gemma", 256, 2048, 18, 8, 1, 16384, 256000), 2_506_172_416),
    "Gemma-2-2B": (gemma("gemma2", 256, 2304, 26, 8, 4, 9216, 256000), 2_614_341_888),
    "Gemma-2-9B": (gemma("gemma2", 256, 3584, 42, 16, 8, 14336, 256000), 9_241_705_984),
    "Gemma-3-1B": (gemma("gemma3_text", 256, 1152, 26, 4, 1, 6912, 262144), 999_885_952),
    "Phi-3-mini": (
        llama(3072, 32, 32, 32, 8192, 32064, model_type="phi3", pad_token_id=32000),
        3_821_079_552,
    ),
    "SmolLM2-135M": (llama(576, 30, 9, 3, 1536, 49152, tie_word_embeddings=True), 134_515_008),
    "SmolLM2-360M": (llama(960, 32, 15, 5, 2560, 49152, tie_word_embeddings=True), 361_821_120),
    "SmolLM2-1.7B": (llama(2048, 24, 32, 32, 8192, 49152, tie_word_embeddings=True), 1_711_376_384),
    "TinyLlama-1.1B": (llama(2048, 22, 32, 4, 5632, 32000), 1_100_048_384),
    "Mixtral-8x7B": (
        llama(4096, 32, 32, 8, 14336, 32000, model_type="mixtral", num_local_experts=8,
              num_experts_per_tok=2),
        46_702_792_704,
    ),
    "Qwen3-30B-A3B": (
        llama(2048, 48, 32, 4, 6144, 151936, model_type="qwen3_moe", head_dim=128,
              num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768),
        30_532_122_624,
    ),
    "GPT-2": (gpt2(768, 12, 12), 124_439_808),
    "GPT-2 medium": (gpt2(1024, 24, 16), 354_823_168),
    "GPT-2 large": (gpt2(1280, 36, 20), 774_030_080),
    "GPT-2 XL": (gpt2(1600, 48, 25), 1_557_611_200),
    "Llama-1-33B": (llama(6656, 60, 52, 52, 17920, 32000), 32_528_943_616),
    "Llama-1-65B": (llama(8192, 80, 64, 64, 22016, 32000), 65_285_660_672),
}  # fmt: skip

GPT_3 = gpt2(12288, 96, 96) | {"n_positions": 2048}
"""The paper gives the shape and "175 billion"; nobody published the exact number."""
