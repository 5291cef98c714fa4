"""Sends each request to an instance by its Host header. DEAs register on the bus."""
