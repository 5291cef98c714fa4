"""The NATS wire listener: any NATS client takes part in the local bus, without a nats-server.

It speaks the core client protocol (no JetStream, no clustering). `parser` and `session`
do no I/O; `server` is sockets and tasks; `monitor` answers what nats-top asks.

Stricter than a nats-server in one thing: what rooms could not answer or pass on, a
message whose subject or reply subject has empty tokens, wildcards or control characters,
is refused with ``-ERR 'Invalid Publish Subject'`` in pedantic mode and without it.
"""
