"""A miniature world: text by a grammar, GLUE's tasks in it, drawn characters, digits, and models trained on it."""
