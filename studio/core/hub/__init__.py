"""Models and data sets of the Hugging Face hub: found, judged, downloaded, kept, resolved."""
