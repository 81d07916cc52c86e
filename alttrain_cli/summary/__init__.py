"""What the files of a run say in short: its scores, and its model card."""
