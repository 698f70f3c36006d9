"""PFEC: Performance, FLOPs, Energy, Carbon of all methods on held-out users. Nothing here is fitted on those users."""
