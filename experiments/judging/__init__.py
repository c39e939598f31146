"""Answers to MT-Bench and Vicuna's questions graded by a judge, in FastChat's formats and by its protocol."""
