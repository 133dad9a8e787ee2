"""Keys, and later signatures and permissions: who may do what."""
