"""Everything that leaves the GUI thread: job threads, background calls, preferences."""
