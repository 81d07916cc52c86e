"""What says of a completion whether it refuses, harms, or is right: one kind of judge a file."""
