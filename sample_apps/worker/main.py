"""Works without listening: pushed with no route and the process health check."""

import itertools
import time

for number in itertools.count(1):
    print(f"Worked {number} times")
    time.sleep(1)
