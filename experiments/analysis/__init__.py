"""What is learned from a run beyond its score, and from many records at once."""
