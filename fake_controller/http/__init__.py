"""The controller's HTTP routes: one file per resource, lists and errors written once."""
