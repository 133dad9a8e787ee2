"""Work on the whole database file: vacuum, rekey, backup, integrity check. A child process does it, since libSQL holds
the interpreter's lock for as long as a statement runs (facts measured in DECISIONS.md)."""
