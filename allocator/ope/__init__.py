"""Off-policy evaluation: what another policy would have earned on logged requests, as far as the log can tell."""
