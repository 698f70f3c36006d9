"""Another reward model for a running server: tried, kept, and taken up by all replicas without a failed request."""
