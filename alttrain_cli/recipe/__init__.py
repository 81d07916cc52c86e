"""The settings of a model, its training and its generation."""
