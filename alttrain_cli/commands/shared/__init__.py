"""Options, rules and help of several commands."""
