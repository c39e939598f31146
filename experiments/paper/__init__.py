"""The paper as facts: what it prints, and how its tables are made."""
