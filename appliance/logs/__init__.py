"""Log lines of every source, recent ones kept in memory. DEAs and stagers send, the controller reads."""
