"""Base and adapters measured on the same rows, with the uncertainty of every number."""
