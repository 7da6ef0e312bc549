"""The soak, short: that it runs, and that nothing of it fails at once."""
