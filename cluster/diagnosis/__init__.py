"""What `greenflow doctor` finds: on every node what is read and what not, and whether all that is configured works."""
