"""Makes Barbican's two master keys in the token, its database, and the project's own key by one first secret."""
import sqlite3
import sys

import webob
import wsgi

token = wsgi.Token(
    "/usr/lib/softhsm/libsofthsm2.so", "1234", True, 0, "CKM_AES_CBC", always_set_cka_sensitive=True,
    token_labels=["barbican"],
)
session = token.get_session()
token.generate_key("CKK_AES", 32, "CKM_AES_KEY_GEN", session, "mkek", encrypt=True, wrap=True, master_key=True)
token.generate_key(
    "CKK_GENERIC_SECRET", 32, "CKM_GENERIC_SECRET_KEY_GEN", session, "hmac", sign=True, master_key=True
)
token.return_session(session)
token.finalize()
sqlite3.connect("barbican.sqlite").execute("PRAGMA journal_mode=WAL")
request = webob.Request.blank(
    "/v1/secrets", method="POST", content_type="application/json", headers={"X-Project-Id": sys.argv[1]},
    body=b'{"payload":"first","payload_content_type":"text/plain"}',
)
response = request.get_response(wsgi.app())
assert response.status_int == 201, response.body
with open("first", "w") as out:
    out.write(response.json["secret_ref"])
