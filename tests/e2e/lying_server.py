"""A server that answers every GET with one proposal: lying_server.py CERTIFICATE KEY ID TEXT_FILE. Prints its port and serves
until its standard input ends."""
import http.server
import json
import pathlib
import ssl
import sys
import threading

certificate, key, name, text = sys.argv[1:5]
answer = json.dumps({"id": name, "state": "open", "operation": "keyring.rotate", "approvals": [], "rejections": [], "needed": 2,
                     "text": pathlib.Path(text).read_bytes().decode()}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
