"""Pre-training of the small models that replace the paper's."""
