"""What is made of many records: tables, figures, verdicts."""
