"""Runs generated code where it can only compute, and checks its results where it cannot reach."""
