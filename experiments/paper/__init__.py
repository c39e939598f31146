"""The paper as facts: what it prints, and what its tables of scores are."""
