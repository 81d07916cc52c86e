"""Everything that is written to disk: whole-or-absent files, append-only journals, tables, the run folder."""
