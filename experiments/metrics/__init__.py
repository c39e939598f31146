"""The metrics of the tasks, as modules of `evaluate` that need no network."""
