"""Facts about a run, one frozen type each, written to and read from one append-only journal."""
