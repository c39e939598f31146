"""Answers to the questions of MT-Bench and Vicuna, graded by a judge in FastChat's formats and by its protocol."""
