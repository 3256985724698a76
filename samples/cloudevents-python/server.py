# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
"""A receiver of CloudEvents with the CloudEvents SDK for Python, as for Knative Serving.

Nothing in it knows of Kontain Eventing. It counts its events in memory and in a file, to
show that each finds it as it was when it was ready.
"""

import http.server
import os

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event
from cloudevents.core.v1.event import CloudEvent

COUNT_FILE = "/tmp/count"


def greet(event, number):
    """Answers an event; number is how many there have been."""
    with open(COUNT_FILE, "a+", encoding="ascii") as file:
        file.write("x")
        in_file = file.tell()
    return CloudEvent(
        {"id": event.get_id() + "-greeting", "source": "/samples/cloudevents-python", "type": "dev.kontain.greeting", "datacontenttype": "application/json"},
        {"greeting": f"hello, {event.get_data()['name']}", "event": number, "in_file": in_file},
    )


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    events = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            event = from_http_event(HTTPMessage(dict(self.headers.items()), body))
            Receiver.events += 1
            answer = to_binary_event(greet(event, Receiver.events))
        except Exception as error:  # the sender is told what the SDK says
            self.answer(400, {"Content-Type": "text/plain"}, f"{type(error).__name__}: {error}".encode())
            return
        self.answer(200, answer.headers, answer.body)

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def warm_up():
    """Has an event read and written: what the SDK loads for its first one is then there."""
    from_http_event(to_binary_event(CloudEvent({"source": "/warm/up", "type": "warm.up"}, {"name": "nobody"})))


if __name__ == "__main__":
    warm_up()
    address = ("", int(os.environ.get("PORT", "8080")))
    http.server.ThreadingHTTPServer(address, Receiver).serve_forever()
