"""Limits that operators set: by settings, and live; who may, what is kept of it, and how they stand."""
