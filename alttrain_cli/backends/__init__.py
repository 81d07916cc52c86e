"""Backends: local models and servers that complete conversations."""
