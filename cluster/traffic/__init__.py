"""Traffic for a running server, and what came back."""
