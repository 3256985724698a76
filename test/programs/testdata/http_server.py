# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

import http.server, json, threading, urllib.error, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/absent":
            return self.send_error(404)
        self.answer({"path": self.path})
    def do_POST(self):
        self.answer({"length": len(self.rfile.read(int(self.headers["Content-Length"])))})
    def answer(self, what):
        body = json.dumps(what).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
print(urllib.request.urlopen(url + "/a?b=c").read())
print(urllib.request.urlopen(url, data=b"x" * 300000).read())
try:
    urllib.request.urlopen(url + "/absent")
except urllib.error.HTTPError as e:
    print(e.code)
server.shutdown(); server.server_close()
try:
    urllib.request.urlopen(url)
except urllib.error.URLError as e:
    print(type(e.reason).__name__)
