"""The contract: every topic, message, error code and limit. Nothing else in the project defines a message."""
