"""Runs, but never listens on its port."""

import time

print("Busy with something else")
time.sleep(3600)
