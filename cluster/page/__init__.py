"""The live page's sources."""
