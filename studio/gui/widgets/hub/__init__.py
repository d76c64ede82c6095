"""What pages show of the hub: the dialog to find and fetch, and the strip of running downloads."""
