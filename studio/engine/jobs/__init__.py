"""Jobs: what a child process does, wired from the parts of the engine; no logic of their own."""
