# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
"""A micro service with Python's http.server, as for Knative Serving.

Nothing in it knows of Kontain Eventing. It counts its requests in memory and in a file,
to show that each event finds it as it was when it was ready. Its random numbers would be
the same in each copy, so it takes new ones when it is told that it is one.
"""

import http.server
import json
import os
import random

COUNT_FILE = os.environ.get("TMPDIR", "/tmp") + "/count"


class Greeter(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = 0

    def do_GET(self):
        """Answers /health/readiness."""
        self.answer(200 if self.path == "/health/readiness" else 404)

    def do_POST(self):
        """Answers an event, a CloudEvent in binary mode, with another one."""
        if self.path == "/restored":
            random.seed()  # from the kernel, which gives each copy something else
            self.answer(200)
            return
        Greeter.requests += 1
        with open(COUNT_FILE, "a+", encoding="ascii") as file:
            file.write("x")
            in_file = file.tell()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            name = json.loads(body)["name"]
        except (ValueError, TypeError, KeyError):
            self.answer(400, 'the data of the event must be {"name": TEXT}', {"Content-Type": "text/plain"})
            return
        self.answer(
            200,
            json.dumps({"greeting": f"hello, {name}", "request": Greeter.requests, "in_file": in_file}),
            {
                "Content-Type": "application/json",
                "Ce-Specversion": "1.0",
                "Ce-Id": self.headers.get("Ce-Id", "") + "-greeting",
                "Ce-Source": "/samples/http-python",
                "Ce-Type": "dev.kontain.greeting",
                "Ce-Luckynumber": str(random.randrange(1 << 30)),
            },
        )

    def answer(self, status, text="", headers=None):
        body = text.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    address = ("", int(os.environ.get("PORT", "8080")))
    http.server.ThreadingHTTPServer(address, Greeter).serve_forever()
