"""Lets people into instances: shells, commands, files, forwarded ports, by ``cf ssh`` and any ssh.

Asks the controller who may come in, and the DEA that has the instance for a way into it. The
library that speaks the protocol is loaded when the first client connects.
"""
