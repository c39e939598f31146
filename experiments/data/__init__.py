"""Where data comes from, and what is read of it."""
