"""What adapters change inside the base, layer by layer, and how alike they are."""
