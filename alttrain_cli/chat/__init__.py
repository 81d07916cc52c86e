"""A chat: its session, the commands of its prompt line, and its transcript. Needs no screen of its own."""
