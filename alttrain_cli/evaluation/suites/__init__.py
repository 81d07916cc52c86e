"""Suites of prompts: descriptions, items, and where published data is read from."""
