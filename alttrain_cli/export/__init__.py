"""Writes a run in the forms that other programs use, and proves each of them."""
