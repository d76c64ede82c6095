"""Training: the loss, the step, the loop that states facts, and what is kept on disk."""
