"""The commands: one module each, imported when it is asked for.

They are clients of the public HTTP API, as ``cf`` is, and know nothing of the rooms;
`up` and `demo` start an appliance themselves.
"""
