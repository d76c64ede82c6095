"""Live plots; the only part of the window that knows the plotting library."""
