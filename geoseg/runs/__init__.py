"""A pipeline document to a finished run folder, and what reads one."""
