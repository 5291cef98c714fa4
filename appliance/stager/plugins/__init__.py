"""The kinds of apps that can be staged, one file each. `registry` lists them in order."""
