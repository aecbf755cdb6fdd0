"""A service as they were written for dtm before it had status codes: it answers 200, and says in the body what it means.

Argument: the port to listen on, 0 for any; prints it. GET /<WORD>/... says that word.
"""

import http.server
import json
import sys


class OldService(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        word = self.path.split("/")[1]
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(json.dumps({"dtm_result": word, "message": "by 姓名"}).encode())

    do_POST = do_GET

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), OldService)
print(server.server_port, flush=True)
server.serve_forever()
