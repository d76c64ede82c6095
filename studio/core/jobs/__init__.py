"""Child processes: how they are started, commanded, watched and queued."""
