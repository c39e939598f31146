"""The experiment suite: tasks, methods, training, records and analysis around the library `fourierft`."""
