"""What a chat is made of, without a model and without a screen."""
