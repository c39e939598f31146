"""A miniature world, generated: texts by a grammar, tasks like the paper's, drawn characters, digits."""
