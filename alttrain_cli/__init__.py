"""Make an open reasoning model assess harm before it solves. Imports nothing heavy."""

__version__ = "0.1.0"
