"""A chat: its session, the commands of its prompt line, and its transcript. It imports no console code."""
