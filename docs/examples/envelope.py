#!/usr/bin/env python3
"""Envelope encryption with Strongroom, standard library only.

Reads the STRONGROOM_ variables that `strongroom dev env --as service-1` prints. Draws a data key, shows that the wrapped
form opens again, and that it does not open with another AAD.
"""
import base64
import http.client
import json
import os
import ssl
import time
import urllib.parse


class Strongroom:
    def __init__(self):
        server = urllib.parse.urlsplit(os.environ["STRONGROOM_SERVER"])
        context = ssl.create_default_context(cafile=os.environ["STRONGROOM_CA"])
        context.load_cert_chain(os.environ["STRONGROOM_CERT"], os.environ["STRONGROOM_KEY"])
        self.connection = http.client.HTTPSConnection(server.hostname, server.port, context=context, timeout=30)

    def call(self, keyring, operation, **request):
        """Posts one operation. A 503 means that nothing was handed out: wait as told and ask again."""
        for _ in range(10):
            self.connection.request("POST", f"/v1/keyrings/{keyring}/{operation}", json.dumps(request),
                                    {"content-type": "application/json"})
            response = self.connection.getresponse()
            answer = json.load(response)
            if response.status != 503:
                break
            time.sleep(int(response.getheader("retry-after", "1")))
        if response.status != 200:
            raise RuntimeError(f"{answer['type']}: {answer['detail']}")
        return answer


def main():
    strongroom = Strongroom()
    aad = base64.b64encode(b"document 17").decode()
    key = strongroom.call("install", "datakey", bytes=32, plaintext=True, aad=aad)
    opened = strongroom.call("install", "unwrap", wrapped=key["wrapped"], aad=aad)
    assert opened["plaintext"] == key["plaintext"]
    try:
        strongroom.call("install", "unwrap", wrapped=key["wrapped"])
    except RuntimeError as refused:
        print("without its AAD:", refused)
    print("kept:", key["wrapped"][:24] + "...", "under version", key["kek_version"])


main()
