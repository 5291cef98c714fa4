"""Compares what should run with what does, and orders the controller to start or stop."""
