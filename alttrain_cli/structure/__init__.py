"""The structure of a completion: its sections, its verdict, and how a model family renders it."""
