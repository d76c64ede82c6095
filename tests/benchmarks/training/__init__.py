"""What the measurements of training share: documents, settings, and the trainers of others."""
