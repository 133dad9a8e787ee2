"""The data of AICO that tasks work on: the protocol they see, and the database behind it."""
