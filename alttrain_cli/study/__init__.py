"""Studies: a grid of trainings and evaluations from a short file, and the table that it ends in."""
