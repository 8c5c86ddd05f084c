"""Published figures (reported/*.csv) and committed measurements (measured/)."""
