"""Keeps droplets by app and SHA-1, and copies each to its peers.

The controller stores here; DEAs and the registry read.
"""
