"""The pre-trained models: where their files are, and how they are built, trained and read out."""
