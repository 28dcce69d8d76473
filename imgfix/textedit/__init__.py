"""Text editors: pure functions from text to text, each in its consumer's own grammar."""
