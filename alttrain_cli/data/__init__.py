"""From sources to rows: read, take traces apart, annotate, split, count. Loads no torch."""
