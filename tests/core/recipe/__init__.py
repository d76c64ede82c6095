"""The recipe: reading, writing, checking."""
