"""Measures a model: suites, judges, statistics, and the scorecard. Generates nothing, draws nothing."""
