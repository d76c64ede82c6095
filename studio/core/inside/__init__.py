"""What adapters change, layer by layer: measures in words, maps of layers and modules, CSV."""
