"""One file or folder per command: parse, call the core, hand the result to the console."""
