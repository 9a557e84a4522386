"""Barbican 15 as gunicorn serves it for B12, with what it takes to run it on SoftHSM and without keystone."""
import fcntl
import os
import sqlite3

from oslo_log import log

# oslo.log would put eventlet's locks under logging, which native threads can hang in.
log._fix_eventlet_logging = lambda: None
from barbican.plugin.crypto import pkcs11
from sqlalchemy import engine, event, pool


class Token(pkcs11.PKCS11):
    """Wraps with CKM_AES_KEY_WRAP_PAD (0x210A, no IV): Barbican asks for CKM_AES_CBC_PAD, which SoftHSM refuses."""

    def _wrap_mechanism(self):
        mechanism = self.ffi.new("CK_MECHANISM *")
        mechanism.mechanism = 0x210A
        return mechanism

    def wrap_key(self, wrapping_key, key_to_wrap, session):
        size = self.ffi.new("CK_ULONG *", 64)
        out = self.ffi.new("CK_BYTE[64]")
        self._check_error(self.lib.C_WrapKey(session, self._wrap_mechanism(), wrapping_key, key_to_wrap, out, size))
        return {"iv": b"", "wrapped_key": self.ffi.buffer(out, size[0])[:]}

    def unwrap_key(self, wrapping_key, iv, wrapped_key, session):
        p = pkcs11
        attributes = [
            p.Attribute(p.CKA_CLASS, p.CKO_SECRET_KEY),
            p.Attribute(p.CKA_KEY_TYPE, p.CKK_AES),
            p.Attribute(p.CKA_TOKEN, False),
        ]
        attributes += [
            p.Attribute(kind, True)
            for kind in (p.CKA_PRIVATE, p.CKA_SENSITIVE, p.CKA_ENCRYPT, p.CKA_DECRYPT, p.CKA_EXTRACTABLE)
        ]
        built = self._build_attributes(attributes)
        key = self.ffi.new("CK_OBJECT_HANDLE *")
        self._check_error(
            self.lib.C_UnwrapKey(
                session, self._wrap_mechanism(), wrapping_key, wrapped_key, len(wrapped_key),
                built.template, len(built.template), key,
            )
        )
        return key[0]


pkcs11.PKCS11 = Token


# oslo.db sends a deferred BEGIN, which beside another writer ends in "database is locked": SQLite's own, immediate one.
@event.listens_for(engine.Engine, "begin")
def _begin(connection):
    connection.info["in_transaction"] = True


@event.listens_for(pool.Pool, "checkout")
def _checkout(connection, record, proxy):
    connection.isolation_level = "IMMEDIATE"
    connection.execute("PRAGMA synchronous=FULL")


def app():
    """One worker's application; the token is opened by one worker at a time, and before the first request."""
    global keep
    folder = os.environ["HOME"]
    from paste import deploy

    with open(folder + "/start.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = deploy.loadapp("config:" + folder + "/paste.ini")
        from barbican.common import policy
        from barbican.plugin.crypto import manager

        manager.get_manager()
        policy.init()
    # An open connection, or each request's close would be the last one and checkpoint the write-ahead log.
    keep = sqlite3.connect(folder + "/barbican.sqlite")
    keep.execute("SELECT * FROM sqlite_master").fetchall()
    open("%s/ready.%d" % (folder, os.getpid()), "w").close()
    return made
