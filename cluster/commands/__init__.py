"""The subcommands of `greenflow`, one file each."""
