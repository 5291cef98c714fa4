"""What all tests share."""

import os

# Debian keeps nats-server and mkfs where the PATH of an ordinary user does not lead.
os.environ["PATH"] += os.pathsep + os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))
