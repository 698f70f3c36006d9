"""Cascades that ship with the project."""
