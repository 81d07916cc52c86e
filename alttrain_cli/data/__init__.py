"""From sources to rows: read, split traces, annotate, count. Loads no torch."""
