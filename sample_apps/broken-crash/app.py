"""Ends at once, as an app does whose configuration is missing."""

import sys

sys.exit("DATABASE_URL is not set")
