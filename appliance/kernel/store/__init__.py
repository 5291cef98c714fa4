"""What outlives a request: content-addressed files, and SQLite for everything about them."""
