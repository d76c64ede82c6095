"""Tasks: what a model learns to do; each file says how its loss is computed."""
