"""Commands beside run.py: searches, tables, figures, pre-training, ... Each is `python -m scripts.<name>`."""
