"""Log lines, and what must never be in one."""
