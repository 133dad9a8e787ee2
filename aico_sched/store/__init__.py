"""The store: one encrypted libSQL connection, its schema, and the transactions that change it."""
