"""The live page: one self-contained HTML document, and what a browser may run of it."""
