"""Files for other tools: the adapter, or the base with the adapter merged in."""
