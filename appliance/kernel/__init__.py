"""What every room stands on: bus, HTTP, store, processes, trace. Knows no room."""
