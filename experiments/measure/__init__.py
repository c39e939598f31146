"""Measurements of one run or one training step."""
