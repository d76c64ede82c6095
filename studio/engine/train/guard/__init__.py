"""What keeps a run alive: memory that runs out, numbers that break, cards that suffer."""
