"""Examines this machine, its packages and a model's tokenizer; every finding has its cure."""
