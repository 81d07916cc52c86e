"""Models, here or behind a server, that complete conversations."""
