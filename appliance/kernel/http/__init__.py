"""HTTP for every room: server, blob plane, request gate, control APIs, client."""
