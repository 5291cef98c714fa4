"""Log lines of every source, recent ones kept in memory.

DEAs, stagers and the router send; the controller reads for its clients.
"""
