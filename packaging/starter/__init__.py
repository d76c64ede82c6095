"""Everything that makes the starter kit: its world, its texts, its tokenizer, its base model."""
