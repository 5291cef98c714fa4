"""Tells which services it is bound to, and how: what it finds in VCAP_SERVICES."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def bound():
    """One line for each service."""
    services = json.loads(os.environ.get("VCAP_SERVICES") or "{}")
    for label, of_label in services.items():
        for service in of_label:
            plan = f", plan {service['plan']}" if service.get("plan") else ""
            known = ", ".join(sorted(service["credentials"])) or "nothing"
            yield f"{service['name']} ({label}{plan}) gives {known}"


class Bound(BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("\n".join(bound()) or "Bound to nothing").encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


port = int(os.environ["PORT"])
print(f"Listening on port {port}")
ThreadingHTTPServer(("0.0.0.0", port), Bound).serve_forever()
