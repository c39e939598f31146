"""What is done around the runs: searches, tables, pre-training of the miniatures. Each is `python -m scripts.<name>`."""
