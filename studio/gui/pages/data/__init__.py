"""Data: what is learnt from, and how the model sees it."""
