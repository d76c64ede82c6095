"""Low-rank adapters: where they sit, how they compute, and their files."""
