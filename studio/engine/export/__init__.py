"""Files for other tools: one way out per file, each complete or absent."""
