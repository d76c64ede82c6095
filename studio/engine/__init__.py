"""The ring that computes: data, models, adapters, training, inference and export, without Qt."""
