"""What can be known of model weights from file headers alone, without torch."""
