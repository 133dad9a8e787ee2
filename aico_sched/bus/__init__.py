"""The ZeroMQ bus: the hosted broker with its access control, and one end of a connection to a broker."""
