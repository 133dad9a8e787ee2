"""The command line. Everything heavy is imported inside the command that needs it, so that it starts at once."""
