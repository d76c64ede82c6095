"""Home: the starter, recent runs, and where to begin."""
