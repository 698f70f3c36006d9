"""Joules of variants: learned from meters and work, put down to who caused them, split among a run's requests."""
