"""New tokens for a base model: its tokenizer file and its tables grow together."""
