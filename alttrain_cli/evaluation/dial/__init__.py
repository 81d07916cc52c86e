"""What the scores of the verdicts show: how well they separate, and whether a promise held."""
