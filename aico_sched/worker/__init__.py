"""A child process that holds one object and answers calls to it: work that would hold the GIL, or must be killable."""
