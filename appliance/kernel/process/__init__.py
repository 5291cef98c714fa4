"""Child processes: made by one thread, confined by a sandbox, measured, and never left behind."""
