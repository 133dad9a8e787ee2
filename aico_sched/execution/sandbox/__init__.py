"""Restrictions a child process puts on itself before it runs code nobody vouches for.

`policy` says what is wanted and what was reached, `apply` puts it in force, the others are one mechanism of the kernel
each.
"""
