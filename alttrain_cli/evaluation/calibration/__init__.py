"""Chooses the threshold of the assessment's verdict for a promise, and checks it on other rows."""
