"""Everything between a file on disk and the token batches that the train loop computes."""
