"""Serves the files below a folder: ``serve.py [--pushstate] FOLDER``. Runs inside the droplet.

The standard library alone, since the app's machine has nothing else. Files whose name begins
with a dot, and those that tell how to run the site, are not served.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

HIDDEN = {"Staticfile", "Procfile", "manifest.yml", "manifest.yaml"}


class Handler(SimpleHTTPRequestHandler):
    """One request. No listing of folders; ``404.html`` is the page for what is not there."""

    protocol_version = "HTTP/1.1"
    server_version = "static"
    timeout = 60  # seconds that a kept-alive connection may be idle
    pushstate = False  # unknown paths get the index page, for single-page apps
    etags: dict[str, str] = {}  # noqa: RUF012  # by path: a droplet's files never change

    def send_head(self) -> Any:
        """Find the file for the path and send its head; the file, or None when that was all."""
        path = self.translate_path(self.path)
        parts = os.path.relpath(path, self.directory).split(os.sep)
        if any((part.startswith(".") and part != ".") or part in HIDDEN for part in parts):
            return self.missing()
        if os.path.isdir(path):
            if not self.path.partition("?")[0].endswith("/"):
                return super().send_head()  # redirects to the path with a slash
            path = os.path.join(path, "index.html")
        if not os.path.isfile(path):
            return self.missing()
        return self.answer(path, HTTPStatus.OK)

    def missing(self) -> BinaryIO | None:
        """Answer for a path that has no file."""
        index = os.path.join(self.directory, "index.html")
        page = os.path.join(self.directory, "404.html")
        if self.pushstate and os.path.isfile(index):
            return self.answer(index, HTTPStatus.OK)
        if os.path.isfile(page):
            return self.answer(page, HTTPStatus.NOT_FOUND)
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def answer(self, path: str, status: HTTPStatus) -> BinaryIO | None:
        """Send the head for *path*; the open file, or None when the client has it already."""
        file = open(path, "rb")  # noqa: SIM115  # the caller closes it
        etag = self.etag(path, file)
        known = status == HTTPStatus.OK and etag in self.headers.get("If-None-Match", "")
        self.send_response(HTTPStatus.NOT_MODIFIED if known else status)
        # No Last-Modified: a droplet's times are all the same, whenever it was pushed.
        self.send_header("ETag", etag)
        if known:
            self.end_headers()
            file.close()
            return None
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
        self.end_headers()
        return file

    def etag(self, path: str, file: BinaryIO) -> str:
        """A name for the file's content."""
        if path not in self.etags:
            digest = hashlib.sha256()
            while piece := file.read(1 << 20):
                digest.update(piece)
            file.seek(0)
            self.etags[path] = f'"{digest.hexdigest()[:32]}"'
        return self.etags[path]


def main() -> None:
    """Serve until SIGTERM, on ``VCAP_APP_HOST`` and ``PORT``."""
    parser = argparse.ArgumentParser(description="Serve a folder of static files.")
    parser.add_argument("--pushstate", action="store_true")
    parser.add_argument("folder")
    options = parser.parse_args()
    Handler.pushstate = options.pushstate
    host = os.environ.get("VCAP_APP_HOST") or "0.0.0.0"
    port = int(os.environ.get("PORT") or 8080)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.chdir(options.folder)
    ThreadingHTTPServer((host, port), Handler).serve_forever()


if __name__ == "__main__":
    main()
