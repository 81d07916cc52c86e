"""One command a file: parse, call the core, hand the result to the console."""
