"""What a running server tells live, in a terminal."""
