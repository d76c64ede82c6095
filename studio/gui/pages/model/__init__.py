"""Model: which base model is adapted, and what it is made of."""
