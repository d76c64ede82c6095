"""Whether an adapter made a model forget: probes, what is right, and what the outcome means."""
