"""One attempt in a process of its own: the pipe between both sides, the parent's part, the child's part."""
