"""Turns an app's files into a droplet. The controller asks on the bus, the package cache helps."""
