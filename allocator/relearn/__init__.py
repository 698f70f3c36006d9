"""Learning from logged requests what the current reward model gets wrong. Nothing here needs PyTorch."""
