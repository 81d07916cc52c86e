"""Judges: whether a completion refuses, is harmful, or is correct. One kind of judge per file."""
