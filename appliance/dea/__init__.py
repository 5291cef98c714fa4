"""Runs instances of droplets. The controller orders, the router and the health manager listen."""
