"""The page that starts a run and shows it: live, after its end, or years later."""
