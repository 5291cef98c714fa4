"""Says hello with Flask, which the stager installs from requirements.txt."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    return "Hello from Flask\n"


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=int(os.environ["PORT"]))
