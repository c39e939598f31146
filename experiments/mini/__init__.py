"""A miniature world: text made by a grammar, the six GLUE tasks in it, and models pre-trained on it."""
