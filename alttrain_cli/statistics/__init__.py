"""Rates, intervals and tests: values in, values out."""
