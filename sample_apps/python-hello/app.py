"""Says hello, with nothing but the standard library."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"Hello from Python, instance {os.environ.get('CF_INSTANCE_INDEX', '?')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


port = int(os.environ["PORT"])
print(f"Listening on port {port}")
ThreadingHTTPServer(("0.0.0.0", port), Hello).serve_forever()
