# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
"""A custom runtime for AWS Lambda in few lines, with a function.

It speaks the Runtime API as
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html says.
"""

import json
import os
import sys
import urllib.request

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime"
COUNT_FILE = "/tmp/count"

events = 0


def handle(event):
    """The function: counts the words of the event's data, and its own events."""
    global events
    events += 1
    with open(COUNT_FILE, "a+", encoding="ascii") as file:
        file.write("x")
        in_file = file.tell()
    text = event["data"]["text"]
    return {"words": len(text.split()), "event": events, "in_file": in_file}


def post(path, value, headers=None):
    request = urllib.request.Request(
        API + path, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
    )
    with urllib.request.urlopen(request) as response:
        response.read()


while True:
    with urllib.request.urlopen(API + "/invocation/next") as response:
        name = response.headers["Lambda-Runtime-Aws-Request-Id"]
        payload = response.read()
    try:
        answer = handle(json.loads(payload))
    except Exception as error:  # whatever the function did, its caller is told
        kind = type(error).__name__
        print(f"request {name}: {kind}: {error}", file=sys.stderr)
        post(
            f"/invocation/{name}/error",
            {"errorMessage": str(error), "errorType": kind, "stackTrace": []},
            {"Lambda-Runtime-Function-Error-Type": kind},
        )
    else:
        post(f"/invocation/{name}/response", answer)
