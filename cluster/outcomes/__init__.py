"""What becomes of decisions: rewards that come in, drift of the reward model, the log to train from. No Ray here."""
