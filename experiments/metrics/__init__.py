"""The metrics of the tasks; none needs a network."""
