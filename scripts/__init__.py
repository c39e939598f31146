"""Around the runs: searches, tables, figures, pre-training of the miniatures. Each is `python -m scripts.<name>`."""
