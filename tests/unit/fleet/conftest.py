# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands for Prometheus."""

import http.server
import json
import threading
import urllib.parse

import pytest


class Answers(http.server.BaseHTTPRequestHandler):
    """What Prometheus's API says, of a table {query: [(labels, value)]}; or what is no answer at all."""

    rows, raw = {}, None

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["query"][0]
        result = [{"metric": labels, "value": [0, value]} for labels, value in self.rows.get(query, [])]
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})
        self.send_response(200)
        self.end_headers()
        self.wfile.write((body if self.raw is None else self.raw).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def prometheus():
    class Handler(Answers):
        pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        Handler.url = f"http://127.0.0.1:{server.server_port}"
        yield Handler
        server.shutdown()
