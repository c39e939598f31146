"""The pre-trained models: their files, and how they are built, trained and used to write texts."""
