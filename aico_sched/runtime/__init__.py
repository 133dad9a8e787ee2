"""The actor runtime: mailboxes, router, cells and their supervisor. It knows no actor and no topic of ours."""
