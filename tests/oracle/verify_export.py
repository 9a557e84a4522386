"""A second verifier of Strongroom exports, written from ledger/FORMAT.md and the C2SP documents, sharing no code with the first.

Usage: verify_export.py FOLDER VKEY_FILE [FOLDER of an earlier export with archived evidence]...

Standard library, ssh-keygen and openssl only. Prints "verified ..." and ends with 0, or one line naming the first bad entry and
ends with 3.
"""
import base64
import datetime
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile


class Bad(Exception):
    pass


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf(entry):
    return sha(b"\0", entry)


def node(left, right):
    return sha(b"\1", left, right)


def root(hashes):
    """RFC 6962 section 2.1, level by level: an odd one at the end moves up as it is."""
    if not hashes:
        return sha(b"")
    while len(hashes) > 1:
        pairs = [node(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(hashes) - len(hashes) % 2:]
    return hashes[0]


def tile_name(index):
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i:i + 3] for i in range(0, len(digits), 3)]
    return "/".join(["x" + g for g in groups[:-1]] + groups[-1:])


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise Bad("cut off")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def text(self):
        return self.take(self.number(4)).decode()

    def rest(self):
        return len(self.data) - self.at

    def end(self):
        if self.at != len(self.data):
            raise Bad("bytes behind its end")


def when(ms):
    return datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if ms else None


def moment(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


class Key:
    """A verifier key of signed notes, ECDSA P-256."""

    def __init__(self, vkey):
        self.text = vkey
        self.name, key_id, material = vkey.split("+", 2)
        material = base64.b64decode(material)
        if material[0] != 2 or sha(material[1:])[:4].hex() != key_id:
            raise Bad("vkey: not an ECDSA key with its id")
        self.spki, self.id = material[1:], bytes.fromhex(key_id)

    def fits(self, text, signature):
        with tempfile.TemporaryDirectory() as work:
            files = [pathlib.Path(work) / n for n in ("text", "sig", "key")]
            for file, content in zip(files, (text.encode(), signature, self.spki)):
                file.write_bytes(content)
            done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", files[2], "-keyform", "DER", "-signature",
                                   files[1], files[0]], capture_output=True)
        return done.returncode == 0

    def vouches(self, following, signature):
        return self.fits(f"strongroom checkpoint key\nformer: {self.text}\nnext: {following}\n", signature)


def open_note(note, keys, what):
    """The text of a note that at least one of the keys has signed, and which of them did."""
    text, split, signatures = note.rpartition("\n\n")
    text += "\n"
    signers = []
    if not split or not signatures.endswith("\n"):
        raise Bad(f"{what}: no note")
    for line in signatures[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, blob = rest.partition(" ")
        if dash != "\u2014" or not name:
            raise Bad(f"{what}: no signature line")
        blob_bytes = base64.b64decode(blob, validate=True)
        if base64.b64encode(blob_bytes).decode() != blob:
            raise Bad(f"{what}: a signature in another form")
        for key in keys:
            if name == key.name and blob_bytes[:4] == key.id:
                if not key.fits(text, blob_bytes[4:]):
                    raise Bad(f"{what}: the signature does not fit")
                signers.append(key.text)
    if not signers:
        raise Bad(f"{what}: no known key has signed it")
    return text, signers


def head_of(text, origin, what):
    got, size, hash64, *more = text[:-1].split("\n")
    if more or got != origin or str(int(size)) != size or int(size) == 0:
        raise Bad(f"{what}: not a head of {origin}")
    return int(size), base64.b64decode(hash64)


def origin_of(log, name, epoch):
    return f"{name}/control/{epoch}" if log == "control" else f"{name}/evidence/node-1/{epoch}"


class Folder:
    def __init__(self, path, vkey, archives=()):
        self.archives, self.archived = [pathlib.Path(a) for a in archives], 0
        self.path, self.seen, self.keys, self.heads = pathlib.Path(path), {"README.txt"}, [Key(vkey)], {}
        self.name = self.keys[0].name

    def read(self, name):
        self.seen.add(name)
        try:
            if (self.path / name).is_symlink() or not (self.path / name).is_file():
                raise Bad(f"{name}: missing, or no file")
            return (self.path / name).read_bytes()
        except OSError:
            raise Bad(f"{name}: missing") from None

    def follow_keys(self):
        """The keys that the handed one vouches for, one after the other, as the control log names them."""
        try:
            bundles = sorted((self.path / "control/tile/entries").rglob("*"))
            for raw in (e for b in bundles if b.is_file() for e in cut(b.read_bytes())):
                if raw[:2] != bytes([1, 11]):
                    continue
                r = Reader(raw[10:])
                r.number(4)
                former, following, signature = r.text(), r.text(), r.take(r.number(4))
                if former == self.keys[-1].text and self.keys[-1].vouches(following, signature):
                    self.keys.append(Key(following))
        except (Bad, OSError, ValueError):
            pass  # what is broken here shows when the entries are verified

    def checkpoint(self, log):
        note = self.read(f"{log}/checkpoint").decode(errors="replace")
        text, self.heads[log] = open_note(note, self.keys, f"{log} checkpoint")
        origin = text.split("\n")[0]
        if not origin.startswith(f"{self.name}/{log}/"):
            raise Bad(f"{log} checkpoint: not the signed head of this log")
        self.heads[log] = (origin, self.heads[log])
        return head_of(text, origin, f"{log} checkpoint")

    def bundle(self, log, name, first):
        if log == "evidence" and first < self.archived and not (self.path / name).exists():
            for other in self.archives:
                if (other / name).is_file():
                    return (other / name).read_bytes()
            return None
        return self.read(name)

    def entries(self, log):
        size, wanted = self.checkpoint(log)
        level = []
        out = []
        for first in range(0, size, 256):
            width = min(256, size - first)
            suffix = "" if width == 256 else f".p/{width}"
            bundle = self.bundle(log, f"{log}/tile/entries/{tile_name(first // 256)}{suffix}", first)
            stored = self.read(f"{log}/tile/0/{tile_name(first // 256)}{suffix}")
            if bundle is None:  # archived, and found nowhere: its hashes are held against the root
                if len(stored) != 32 * width:
                    raise Bad(f"{log} entry {first}: its tile of hashes is cut")
                level += [stored[32 * i:32 * i + 32] for i in range(width)]
                continue
            at = 0
            for i in range(width):
                (length,) = struct.unpack_from(">H", bundle, at) if at + 2 <= len(bundle) else (1 << 20,)
                entry = bundle[at + 2:at + 2 + length]
                if at + 2 + length > len(bundle) or leaf(entry) != stored[32 * i:32 * i + 32]:
                    raise Bad(f"{log} entry {first + i}: it does not fit its hash")
                at += 2 + length
                out.append(entry)
                level.append(leaf(entry))
            if at != len(bundle) or len(stored) != 32 * width:
                raise Bad(f"{log} entry {first + width}: more than there should be")
        leaves, number = level, 0
        while len(level) >= 256:  # the tiles above
            level = [root(level[i:i + 256]) for i in range(0, len(level) - len(level) % 256, 256)]
            number += 1
            for first in range(0, len(level), 256):
                part = level[first:first + 256]
                suffix = "" if len(part) == 256 else f".p/{len(part)}"
                if self.read(f"{log}/tile/{number}/{tile_name(first // 256)}{suffix}") != b"".join(part):
                    raise Bad(f"{log} entry {first * 256 ** number}: tile {number}/{first // 256} differs")
        if root(leaves) != wanted:
            raise Bad(f"{log} entries 0 to {size - 1}: not the signed root")
        return out, leaves


def cut(bundle):
    at = 0
    while at + 2 <= len(bundle):
        (length,) = struct.unpack_from(">H", bundle, at)
        yield bundle[at + 2:at + 2 + length]
        at += 2 + length


def ssh_verify(signers, who, namespace, message, signature):
    with tempfile.TemporaryDirectory() as work:
        files = [pathlib.Path(work) / n for n in ("signers", "sig")]
        files[0].write_text(signers)
        files[1].write_text(signature)
        done = subprocess.run(["ssh-keygen", "-Y", "verify", "-f", files[0], "-I", who, "-n", namespace, "-s", files[1]],
                              input=message.encode(), capture_output=True)
    return done.returncode == 0


def raw_key(text):
    """What the private key is the other half of: point without its sign, or modulus; the same for every form of it."""
    r = Reader(base64.b64decode(text.split(" ")[1], validate=True))
    form = r.text()
    if form in ("ssh-ed25519", "sk-ssh-ed25519@openssh.com"):
        return "ed25519", int.from_bytes(r.take(r.number(4)), "little") % 2**255
    if form in ("ecdsa-sha2-nistp256", "sk-ecdsa-sha2-nistp256@openssh.com"):
        r.text()
        return "p256", int.from_bytes(r.take(r.number(4))[1:33], "big")
    r.take(r.number(4))
    return "rsa", int.from_bytes(r.take(r.number(4)), "big")


def weakness(text):
    """Why others, or nobody, can sign with a key; None for a good one."""
    kind, value = raw_key(text)
    if kind == "rsa":
        if value % 2 == 0 or any(value % n == 0 for n in range(3, 4096, 2)):
            return "its modulus has a small factor"
        return "its modulus is a prime" if pow(2, value - 1, value) == 1 else None
    if kind != "ed25519":
        return None
    p = 2**255 - 19
    if value >= p:
        return "its point is written in another form"
    d = -121665 * pow(121666, p - 2, p) % p
    u, v = (value * value - 1) % p, (d * value * value + 1) % p
    if u and pow(u * v, (p - 1) // 2, p) != 1:
        return "its point is not on the curve"
    # Of small order: 2P has y = 1, -1 or 0, so 8P is neutral. y(2P) = (y^2 + x^2) / (2 - (y^2 - x^2)) for this curve.
    x2 = u * pow(v, p - 2, p) % p
    y2 = value * value % p
    double = (y2 + x2) * pow(2 - (y2 - x2), p - 2, p) % p
    return "its point is of small order" if double in (0, 1, p - 1) else None


# What a text that people sign may not have (ledger/FORMAT.md, Texts that people sign).
MISLEADING = [(0, 0x1F), (0x7F, 0xA0), (0xAD, 0xAD), (0x334, 0x338), (0x34F, 0x34F), (0x488, 0x489), (0x590, 0x8FF),
              (0x115F, 0x1160), (0x1680, 0x1680), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x1AB0, 0x1AFF), (0x1CD0, 0x1CFF),
              (0x1DC0, 0x1DFF), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x20D0, 0x20FF), (0x2800, 0x2800),
              (0x2D7F, 0x2D7F), (0x2DE0, 0x2DFF), (0x3000, 0x3000), (0x3164, 0x3164), (0xA670, 0xA672), (0xD7B0, 0xF8FF),
              (0xFB1D, 0xFDFF), (0xFE00, 0xFE2F), (0xFE70, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0x1FFFF), (0x323B0, 0x10FFFF)]


def misleads(line):
    def combines(c):
        return 0x300 <= ord(c) <= 0x36F or 0x483 <= ord(c) <= 0x489 or c in "\u3099\u309a"

    return (line.startswith(" ") or line.endswith(" ") or "  " in line
            or any(a <= ord(c) <= b for c in line for a, b in MISLEADING)
            or any(combines(c) and (before == " " or combines(before) and combines(before_that))
                   for before_that, before, c in zip("x " + line, " " + line, line)))


CLASSES = {"break-glass.open": "break-glass", "clock.accept": "recovery", "grant.change": "ceremony",
           "keyring.create": "ceremony", "keyring.emergency-rotate": "emergency", "keyring.enable": "ceremony",
           "keyring.rotate": "rotation", "ledger.adopt": "recovery", "ledger.archive": "destruction", "ledger.rotate-key": "rotation",
           "keyring.set-policy": "rotation", "rewrap.reverse": "rotation", "rewrap.start": "rotation",
           "rekey.start": "ceremony", "token.enrol": "ceremony", "version.adopt": "rotation", "roster.change": "roster", "version.archive": "destruction", "version.destroy": "destruction",
           "version.restore": "ceremony"}


KEYRING_OPERATIONS = [o for o in CLASSES if o.split(".")[0] in ("keyring", "grant", "rekey", "rewrap", "version")]


# What one rejection does not end, and what no rejection of another proposal closes.
OUTLIVING = ("roster", "emergency", "recovery")


def millis(text):
    return int(datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()) * 1000


def accepts_clock(p):
    return p["fields"]["operation"] == "clock.accept" or (p["fields"]["operation"] == "ledger.adopt" and "clock" in p["params"])


class Control:
    """Replays the control log."""

    def __init__(self):
        self.roster, self.keys, self.signers, self.proposals, self.keyrings = None, {}, "", {}, {}
        self.votes = self.executions = 0
        self.rosters, self.changes = {}, []
        self.epoch, self.checkpoint_keys, self.epochs = 1, [], []
        self.signers_of, self.former_roster = {}, None
        self.last, self.frozen, self.at_once, self.break_glass = 0, False, [], {}
        self.jobs, self.owed, self.acknowledged = {}, set(), {}
        self.main_token, self.tokens, self.archives = None, {}, []
        self.vote_files = {}
        self.forgotten = 0  # what is filed names at least so long a control log
        self.rejection = None  # proposal and custodian, when the entry before was one
        self.findings, self.index = [], 0

    def find(self, what):
        self.findings.append(f"control entry {self.index}: {what}")

    def about(self, operation):
        return operation in KEYRING_OPERATIONS

    def fields(self, text):
        pairs = [line.split(": ", 1) for line in text.splitlines()[1:]]
        return dict(pairs), {k[6:]: v for k, v in pairs if k.startswith("param ")}

    def take(self, raw):
        r = Reader(raw)
        if r.number(1) != 1:
            raise Bad("unknown format")
        kind, time = r.number(1), r.number(8)
        if kind != 1 and not self.roster:
            raise Bad("the log does not begin with a roster")
        if time < self.last and kind not in (10, 20):
            raise Bad("a time before the one of the entry before it")
        if time < self.last or kind == 20:  # to the clock that votes have named, and to no other
            accepted = [p for p in self.proposals.values() if p["fate"] == "consumed" and accepts_clock(p)]
            if not accepted or not self.clock_fits(accepted[0], time):
                raise Bad("another clock than the one voted for")
        self.last = time
        self.expected = self.at_once.pop(0) if self.at_once else None
        if self.expected and kind not in (8, 15, 26):
            raise Bad("not what the execution before it does at once")
        if self.changes and kind not in (6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 20, 22, 24, 25, 30, 31, 32):
            raise Bad("keyrings were changed before it without an execution")
        rejection, self.rejection = self.rejection, None
        if kind == 33 and not rejection:
            raise Bad("proposals closed behind no rejection")
        self.rejected_before = rejection
        getattr(self, f"kind_{kind}", self.unknown)(r, time)
        r.end()

    def unknown(self, r, time):
        raise Bad("unknown kind")

    def take_roster(self, text):
        self.keys = {}
        for line in text.splitlines():
            words = line.split(" ")
            if words[0] == "principal:" and words[2] == "custodian":
                self.keys[words[1]] = " ".join(words[4:6])
        self.raw = {who: raw_key(key) for who, key in self.keys.items()}
        self.weak = {who for who, key in self.keys.items() if weakness(key)}
        if self.weak or len(set(self.raw.values())) != len(self.raw):
            self.find("a custodian's key that is weak or another's, too")
        self.roster = text
        self.version = dict(l.split(": ", 1) for l in text.splitlines()[1:3])["version"]
        self.instance = dict(l.split(": ", 1) for l in text.splitlines()[1:3])["instance"]
        self.policies = dict(l.split(" ")[1:] for l in text.splitlines() if l.startswith("policy: "))
        named = lambda what: {l.split(" ")[1]: l.split(" ")[2:] for l in text.splitlines() if l.startswith(what + ": ")}
        self.groups = {k: v[0].split(",") for k, v in named("group").items()}
        self.requirements = {k: v[0].split(",") for k, v in named("requires").items()}
        self.organisations = {k: (dict(x.split("=") for x in v[0].split(",")), v[1].split(","))
                              for k, v in named("organisation").items()}
        self.rosters[self.version] = text
        self.signers = "".join(f'{n} namespaces="vote@strongroom,roster@strongroom" {k}\n' for n, k in self.keys.items())
        self.signers_of[self.version] = self.signers

    def kind_1(self, r, time):
        text = r.text()
        if self.roster:
            raise Bad("a second genesis")
        self.take_roster(text)
        signed = set()
        for _ in range(r.number(2)):
            who, signature = r.text(), r.text()
            if who in self.weak or not ssh_verify(self.signers, who, "roster@strongroom", text, signature):
                raise Bad(f"the roster's signature by {who} does not fit")
            signed.add(who)
        if signed != set(self.keys):
            raise Bad("not every custodian signed the roster")

    def kind_2(self, r, time):
        text = r.text()
        fields, params = self.fields(text)
        if ("keyring" in fields) != self.about(fields["operation"]):
            raise Bad("a proposal about a keyring that names none, or the other way round")
        second = text.startswith("strongroom proposal v2\n")
        if not (second or text.startswith("strongroom proposal v1\n")) or fields["instance"] != self.instance:
            raise Bad("a proposal of another instance")
        if fields.get("epoch") != (str(self.epoch) if second else None):
            raise Bad("a proposal of another epoch than the log's")
        if moment(fields["execute-by"]) - moment(fields["created"]) > datetime.timedelta(days=7 if second else 31):
            raise Bad("a proposal whose time for execution is too far off")
        if not self.may_stop(fields["requester"]):
            raise Bad("a proposal by somebody who is no operator or custodian")
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        if name in self.proposals:
            raise Bad("a proposal filed twice")
        if int(fields["control-log"].split()[0]) < self.forgotten:
            raise Bad("a proposal asked for before what has been forgotten")
        if any(misleads(line) for line in [fields["reason"], *params.values()]):
            self.find("a text that people sign and that would be filed no more")
        self.proposals[name] = {
            "id": name, "text": text, "fields": fields, "params": params, "votes": {}, "fate": "open"}

    def proposal(self, r, *fates):
        p = self.proposals.get(r.text())
        if p is None or p["fate"] not in fates:
            raise Bad("a proposal that is not there or is settled")
        return p

    def kind_3(self, r, time):
        p = self.proposal(r, "open")
        who, verdict, signature = r.text(), {1: "approve", 2: "reject"}[r.number(1)], r.text()
        if all(who not in people for _, _, people in self.needs(p)):
            raise Bad(f"{who} has no say in this")
        if who in p["votes"] or who == p["fields"]["requester"]:
            raise Bad(f"{who} may not vote (again)")
        if p["fields"]["operation"] == "roster.change" and f"remove-{who}" in p["params"]:
            raise Bad(f"{who} is concerned and may not vote")
        if who in self.weak:
            raise Bad(f"{who} has a weak key: anybody can have cast this vote")
        if not ssh_verify(self.signers, who, "vote@strongroom", p["text"] + f"verdict: {verdict}\n", signature):
            raise Bad(f"the vote by {who} does not fit")
        if verdict == "approve" and not accepts_clock(p) and when(time) > p["fields"]["approve-by"]:
            raise Bad("a vote after the time for votes")
        p["votes"][who] = verdict
        self.rejection = (p["id"], who) if verdict == "reject" else None
        self.votes += 1
        self.vote_files[f"votes/{p['id']}/{who}.txt"] = p["text"] + f"verdict: {verdict}\n"
        self.vote_files[f"votes/{p['id']}/{who}.sig"] = signature

    def kind_4(self, r, time):
        p, by = self.proposal(r, "open"), r.text()
        if by != p["fields"]["requester"] or not self.may_stop(by):
            raise Bad("a proposal withdrawn by somebody else than who asked for it")
        p["fate"] = "withdrawn"

    def kind_5(self, r, time):
        p = self.proposal(r, "open")
        p["executor"] = r.text()
        if not self.may_stop(p["executor"]):
            raise Bad("executed by somebody who is no operator or custodian")
        policy = CLASSES[p["fields"]["operation"]]
        needs = self.needs(p)
        if p["fields"]["policy"] != "; ".join(f"{label} {needed} of {len(people)}" for label, needed, people in needs):
            raise Bad("executed under another policy than the roster's")
        if policy not in OUTLIVING and "reject" in p["votes"].values():  # one rejection ends all but these
            raise Bad("executed though it was rejected")
        if p["fields"]["roster"] != f"{self.version} {hashlib.sha256(self.roster.encode()).hexdigest()}":
            raise Bad("executed under another roster than the one in force")
        for label, needed, people in needs:
            if len({self.raw[who] for who in people if p["votes"].get(who) == "approve"}) < needed:  # a key counts once
                raise Bad(f"executed without its votes ({label})")
        if not accepts_clock(p) and when(time) > p["fields"]["execute-by"]:
            raise Bad("executed too late")
        p["fate"] = "consumed"
        if p["fields"]["operation"] == "keyring.emergency-rotate":  # the old version first, and at once
            ring, version = p["params"]["keyring-id"], int(p["params"]["from-version"])
            if self.keyrings[ring]["versions"][version]["state"] == "active":
                self.at_once = [("moved", i, n, "compromised", 0) for i, n in self.sharing(ring, version)
                                if self.keyrings[i]["versions"][n]["state"] != "compromised"]
                self.at_once += [("job-switched", j, 3, "emergency") for i, n in self.sharing(ring, version)
                                 if self.keyrings[i]["primary"] == n for j, job in sorted(self.jobs.items())
                                 if job["ring"] == i and job["state"] in (1, 2)]
        self.executions += 1

    def is_open(self, p, time):
        """Open or approved: neither settled, stale, rejected nor late."""
        if p["fate"] != "open" or p["fields"]["roster"] != f"{self.version} {hashlib.sha256(self.roster.encode()).hexdigest()}":
            return False
        concerned = [k[7:] for k in p["params"] if k.startswith("remove-")] if p["fields"]["operation"] == "roster.change" else []
        approved, possible, rejected = True, True, False
        for _, needed, people in self.needs(p):
            votes = {who: p["votes"].get(who) for who in people
                     if who != p["fields"]["requester"] and who not in concerned}
            keys = lambda *verdicts: len({self.raw[who] for who in votes if votes[who] in verdicts})  # a key counts once
            rejected = rejected or "reject" in votes.values()
            approved = approved and keys("approve") >= needed
            possible = possible and keys("approve", None) >= needed
        if rejected and (not possible or CLASSES[p["fields"]["operation"]] not in OUTLIVING):
            return False
        return time <= millis(p["fields"]["execute-by" if approved else "approve-by"])

    def kind_33(self, r, time):
        id, by, closed = r.text(), r.text(), [r.text() for _ in range(r.number(2))]
        if (id, by) != self.rejected_before:
            raise Bad("proposals closed behind another rejection than theirs")
        if any(p["fields"]["operation"] == "roster.change" and f"remove-{by}" in p["params"] and self.is_open(p, time)
               for p in self.proposals.values()):
            raise Bad("proposals closed by somebody who is to be removed")
        requester = self.proposals[id]["fields"]["requester"]
        theirs = sorted((int(p["fields"]["control-log"].split()[0]), p["id"]) for p in self.proposals.values()
                        if p["fields"]["requester"] == requester and CLASSES[p["fields"]["operation"]] not in OUTLIVING
                        and self.is_open(p, time))
        wanted = [i for _, i in theirs[16:] if by not in self.proposals[i]["votes"] and by != requester
                  and any(by in people for _, _, people in self.needs(self.proposals[i]))]
        if not closed or closed != wanted:
            raise Bad("other proposals closed than the rejection before it closes")
        for i in closed:
            self.proposals[i]["fate"] = "closed"

    def kind_34(self, r, time):
        before = r.number(8)
        if before > time:
            raise Bad("proposals forgotten before their time")
        for p in self.proposals.values():
            if millis(p["fields"]["execute-by"]) < before:
                self.forgotten = max(self.forgotten, int(p["fields"]["control-log"].split()[0]) + 1)
            if p["fate"] != "consumed" and millis(p["fields"]["execute-by"]) < before and not (
                    p["fate"] == "open" and accepts_clock(p)):
                p["fate"] = "forgotten"

    def has_role(self, who, *roles):
        lines = [l.split(" ") for l in self.roster.splitlines() if l.startswith("principal: ")]
        return any(l[1] == who and l[2] in roles for l in lines)

    def may_stop(self, who):
        return self.has_role(who, "operator", "custodian")

    def clock_fits(self, p, time):
        return when(time + 300_000) >= p["params"]["clock"] and when(time) <= p["fields"]["execute-by"]

    def needs(self, p):
        """Each part of a proposal's policy: its label, how many, of whom."""
        policy, ring = CLASSES[p["fields"]["operation"]], p["fields"].get("keyring")
        own = {who for _, people in self.organisations.values() for who in people}
        if ring in self.organisations:
            votes, people = self.organisations[ring]
            out = [(f"{ring}/{policy}", int(votes.get(policy, len(people))), people)]
        else:
            out = [(policy, int(self.policies[policy]), [who for who in self.keys if who not in own])]
        if min(needed for _, needed, _ in out) < 2:
            raise Bad("a policy under its floor")
        out += [(group, 1, self.groups[group]) for group in self.requirements.get(policy, [])]
        if policy == "roster":
            for name, (votes, people) in sorted(self.organisations.items()):
                if f"organisation-{name}" in p["params"] or any(f"remove-{who}" in p["params"] for who in people):
                    out.append((f"{name}/roster", max(int(v) for v in votes.values()), people))
        return out

    def sharing(self, ring, number):
        """A version and all whose KEK is the same, in the order of the log."""
        kek = self.keyrings[ring]["versions"][number]["kek"]
        others = sorted((k["name"], i) for i, k in self.keyrings.items() if i != ring)
        return [(ring, number)] + [(i, n) for _, i in others for n, v in sorted(self.keyrings[i]["versions"].items())
                                   if v["kek"] == kek]

    def kind_13(self, r, time):
        ring, enabled, by = r.take(16).hex(), r.number(1) == 1, r.text()
        if enabled:
            self.changes.append(("enabled", ring))
        elif not self.may_stop(by) or not self.keyrings[ring].get("enabled", True):
            raise Bad("a keyring disabled by nobody, or twice")
        self.keyrings[ring]["enabled"] = enabled

    def kind_14(self, r, time):
        ring, grants = r.take(16).hex(), r.text()
        self.changes.append(("grants", ring, grants))
        self.keyrings[ring]["grants"] = grants

    def kind_15(self, r, time):
        ring, number, to, days, by = r.take(16).hex(), r.number(4), r.number(1), r.number(4), r.text()
        name = {1: "archived", 2: "restored", 3: "compromised", 4: "pending-destruction", 5: "kept", 6: "destroyed"}[to]
        v = self.keyrings[ring]["versions"][number]
        if name in ("kept", "destroyed") and not self.expected:  # all that share the KEK move with it, at once
            if not v["custody"].startswith("token:") or (name == "kept" and not self.may_stop(by)):
                raise Bad("a version that nobody may move")
            self.at_once = [("moved", i, n, name, 0) for i, n in self.sharing(ring, number)[1:]]
        if self.expected and self.expected != ("moved", ring, number, name, days):
            raise Bad("not what the execution before it does at once")
        if name == "destroyed" and (not v.get("due") or time < v["due"]):
            raise Bad("a KEK destroyed before its time")
        if name not in ("kept", "destroyed") and not self.expected:
            self.changes.append(("moved", ring, number, name, days))
        allowed = {"archived": ["deactivated"], "restored": ["archived"],
                   "compromised": ["active", "deactivated", "archived"],
                   "pending-destruction": ["deactivated", "archived", "compromised"],
                   "kept": ["pending-destruction"], "destroyed": ["pending-destruction"]}[name]
        if v["state"] not in allowed:
            raise Bad(f"a version that was {v['state']} became {name}")
        v["compromised"] = v.get("compromised") or name == "compromised"
        v["emergency"] = v.get("emergency") or name == "compromised"
        v["state"] = {"restored": "deactivated", "kept": "compromised" if v["compromised"] else "archived"}.get(name, name)
        v["moved"], v["due"] = time, time + days * 86400000 if name == "pending-destruction" else 0

    def kind_16(self, r, time):
        what = (r.text(), r.text(), r.text(), r.number(4), r.number(8), r.number(1))
        if any(not b["reviewed"] for b in self.break_glass.values()):
            raise Bad("a break-glass opened before the last one was reviewed")
        self.changes.append(("break-glass",) + what)
        self.break_glass[what[0]] = {"check": what[1], "scope": what[2], "drill": "yes" if what[5] else "no",
                                     "opened": time, "closed": 0, "reviewed": False}

    def kind_17(self, r, time):
        b = self.break_glass[r.text()]
        if b["closed"]:
            raise Bad("a break-glass closed twice")
        b["reason"], by, b["uses"], b["closed"] = r.text(), r.text(), r.number(8), time
        if by and not self.may_stop(by):
            raise Bad("a break-glass closed by somebody who is no operator or custodian")

    def kind_18(self, r, time):
        id, who, finding, signature = r.text(), r.text(), r.text(), r.text()
        b, p = self.break_glass[id], self.proposals[id]
        text = (f"strongroom break-glass review v1\ninstance: {self.instance}\nbreak-glass: {id}\ncheck: {b['check']}\n"
                f"scope: {b['scope']}\ndrill: {b['drill']}\nopened: {when(b['opened'])}\nclosed: {when(b['closed'])}\n"
                f"reason: {b['reason']}\nuses: {b['uses']}\nfinding: {finding}\nverdict: reviewed\n")
        if not b["closed"] or b["reviewed"] or who in (p["fields"]["requester"], p.get("executor")):
            raise Bad("a review out of order, or of one's own doing")
        if not ssh_verify(self.signers, who, "vote@strongroom", text, signature):
            raise Bad("the review's signature does not fit")
        b["reviewed"] = True
        if misleads(finding):
            self.find("a text that people sign and that would be filed no more")

    def kind_19(self, r, time):
        r.number(8), r.text()
        if self.frozen:
            raise Bad("a clock frozen twice")
        self.frozen = True

    def kind_20(self, r, time):
        r.number(8)
        self.frozen = False
        self.changes.append(("clock",))
        for p in self.proposals.values():
            p["fate"] = "outdated" if p["fate"] == "open" else p["fate"]

    def kind_22(self, r, time):
        ring, days, until, enforce = r.take(16).hex(), r.number(4), r.number(8), r.number(1)
        rewrap, expire, attest = (r.number(1), r.number(4), r.number(1)) if r.rest() else (1, 0, 0)
        self.changes.append(("policy", ring, days, until, enforce, rewrap, expire, attest))
        self.keyrings[ring]["policy"] = {"days": days, "until": until, "enforce": enforce, "set": time, "rewrap": rewrap,
                                         "expire": expire, "attest": attest}

    def kind_23(self, r, time):
        ring, version = r.take(16).hex(), r.number(4)
        k = self.keyrings[ring]
        policy = k.get("policy", {"days": 0})
        if not policy["days"] or k.get("mandated") or version != len(k["versions"]) + 1:
            raise Bad("a mandate used out of order")
        if time > policy["until"] or time < self.next_rotation(k) or k["versions"][k["primary"]]["state"] != "active":
            raise Bad("a mandate used that does not allow it")
        k["mandated"] = version

    def kind_24(self, r, time):
        ring, version, ok, _, _ = r.take(16).hex(), r.number(4), r.number(1), r.text(), r.text()
        k = self.keyrings[ring]
        wanted = []
        if ok:
            before = k["versions"][k["primary"] if k["policy"].get("attest") else k["former_primary"]]
            wanted = self.rotated(ring, version, before["suite"], before["custody"])
        if k.get("mandated") != version or self.changes != wanted:
            raise Bad("the changes before it are not what its mandate allows")
        k["mandated"], self.changes = 0, []

    def next_rotation(self, k):
        if not k.get("policy", {}).get("days"):
            return 0
        return max(k["policy"]["set"], k["activated_ms"]) + k["policy"]["days"] * 86400000

    def rotated(self, ring, version, suite, custody):
        kek, token = ring + f"{version:08x}", custody[6:]
        out = [("announced", ring, version, suite, custody, kek, token), ("activated", ring, version)]
        waits = self.keyrings[ring].get("policy", {}).get("attest")
        if self.keyrings[ring]["name"] == "install":
            for name, other in sorted((k["name"], i) for i, k in self.keyrings.items()):
                if self.keyrings[other]["versions"][1]["custody"] == "keyring:install":
                    n = len(self.keyrings[other]["versions"])
                    out += [("announced", other, n, suite, "keyring:install", kek, token), ("activated", other, n)]
        return [c for c in out if not waits or c[0] == "announced"]

    def kind_21(self, r, time):
        if not self.may_stop([r.text() for _ in range(5)][-1]):
            raise Bad("a ceremony recorded by somebody who is no operator or custodian")

    def kind_25(self, r, time):
        id, ring, kind, target, retry = r.text(), r.take(16).hex(), r.number(1), r.number(4), r.number(1)
        if self.proposals.get(id, {}).get("fate") == "consumed":
            self.changes.append(("job", id, ring, kind, target, retry))
        elif self.changes:
            raise Bad("keyrings were changed before it without an execution")
        if id not in self.proposals:
            emergency = any(v.get("emergency") and v["state"] == "compromised"
                            for v in self.keyrings[ring]["versions"].values())
            if retry or ring not in self.owed or kind != (3 if emergency else 1) or (
                    kind == 1 and not self.keyrings[ring].get("policy", {}).get("rewrap", 1)):
                raise Bad("a job that nobody voted for and no rotation owes")
        elif self.proposals[id]["fate"] != "consumed":
            raise Bad("a job by a proposal that is not being executed")
        self.owed.discard(ring)
        live = any(j["ring"] == ring and j["state"] in (1, 2) for j in self.jobs.values())
        if id in self.jobs or live or self.keyrings[ring]["primary"] != target:
            raise Bad("a job that cannot begin")
        self.jobs[id] = {"ring": ring, "state": 2}

    def kind_26(self, r, time):
        id, to, by, reason, _, _ = r.text(), r.number(1), r.text(), r.text(), r.number(8), r.number(8)
        if self.jobs[id]["state"] not in (1, 2) or self.jobs[id]["state"] == to or (by and not self.may_stop(by)):
            raise Bad("a job switched out of order, or by nobody")
        if not self.expected and not by and to in (1, 2, 3):  # the appliance ends a job, and does nothing else with it
            raise Bad("a job switched by nobody")
        if self.expected and (by or self.expected != ("job-switched", id, to, reason)):
            raise Bad("not what the execution before it does at once")
        self.jobs[id]["state"] = to

    def kind_27(self, r, time):
        ring, version, service, _ = r.take(16).hex(), r.number(4), r.text(), r.number(8)
        granted = [part.split("=")[0] for part in self.keyrings[ring]["grants"].split(",")]
        if version not in self.keyrings[ring]["versions"] or service not in granted:
            raise Bad("an acknowledgement by somebody to whom the keyring is not granted")
        if not self.has_role(service, "service"):
            raise Bad("an acknowledgement by somebody who is no service")
        self.acknowledged[ring, service] = version

    def kind_28(self, r, time):
        ring, version, by, _ = r.take(16).hex(), r.number(4), r.text(), r.text()
        v = self.keyrings[ring]["versions"][version]
        if not v.get("emergency") or not self.may_stop(by):
            raise Bad("an emergency closed that is not open, or by nobody")
        if any(j["ring"] in [i for i, _ in self.sharing(ring, version)] and j["state"] in (1, 2) for j in self.jobs.values()):
            raise Bad("an emergency closed while a job was at it")
        self.check_awaited(ring, version, [])
        v["emergency"] = False

    def kind_29(self, r, time):
        ring, version, by, statement = r.take(16).hex(), r.number(4), r.text(), r.text()
        if misleads(statement):
            self.find("a text that people sign and that would be filed no more")
        k = self.keyrings[ring]
        v = k["versions"][version]
        if not self.may_stop(by) or v["state"] != "pre-active" or version != max(k["versions"]) or version <= k["primary"] \
                or not v["custody"].startswith("token:"):
            raise Bad("an attestation of what does not wait for it, or by nobody")
        self.at_once = [("activated", i, n) for i, n in self.sharing(ring, version)
                        if self.keyrings[i]["versions"][n]["state"] == "pre-active" and n > self.keyrings[i]["primary"]]

    def check_awaited(self, ring, number, waived):
        """Everybody to whom the keyring, or one that shares the KEK, is granted has acknowledged, or is named."""
        for i, n in self.sharing(ring, number):
            grants = self.keyrings[i]["grants"]
            for service in [] if grants == "none" else [part.split("=")[0] for part in grants.split(",")]:
                if service not in waived and self.acknowledged.get((i, service), 0) < n:
                    raise Bad(f"{service} was not waited for")

    def wanted_of_reverse(self, id, ring, former, number):
        """The older version is primary again, and of all that shared the former KEK the one that goes with it."""
        target = self.keyrings[ring]["versions"][number]
        out = [("activated", ring, number)]
        made = {(c[1], c[2]) for c in self.changes if c[0] == "announced"}
        for other, n in self.sharing(ring, former)[1:]:
            k = self.keyrings[other]
            if k["former_primary"] != n:
                continue
            there = [m for m, v in k["versions"].items() if v["kek"] == target["kek"] and (other, m) not in made
                     and (v["state"] == "deactivated" or m == k["primary"])]
            if there:
                out.append(("activated", other, max(there)))
            else:
                m = len(k["versions"])
                out += [("announced", other, m, target["suite"], k["versions"][n]["custody"], target["kek"], target["token"]),
                        ("activated", other, m)]
        return out + [("job", id, ring, 2, number, 0)]

    def kind_6(self, r, time):
        ring, name = r.take(16).hex(), r.text()
        suite, custody = {1: "kwp", 2: "gcm"}[r.number(1)], r.text()
        self.changes.append(("created", ring, name))
        self.keyrings[ring] = {"name": name, "grants": r.text(), "created": time, "primary": 0, "rotated": 0, "versions": {}}

    def kind_7(self, r, time):
        ring, number = r.take(16).hex(), r.number(4)
        suite, custody, kek, token = {1: "kwp", 2: "gcm"}[r.number(1)], r.text(), r.take(20).hex(), r.text()
        self.changes.append(("announced", ring, number, suite, custody, kek, token))
        if token not in self.tokens:
            self.main_token = self.main_token or token
            if token != self.main_token:
                raise Bad("a KEK in a token that is not enrolled")
        self.keyrings[ring]["versions"][number] = {
            "version": number, "state": "pre-active", "suite": suite, "announced": when(time), "activated": None,
            "deactivated": None, "custody": custody, "kek": kek, "token": token}

    def kind_8(self, r, time):
        ring_id, number = r.take(16).hex(), r.number(4)
        if self.expected and self.expected != ("activated", ring_id, number):
            raise Bad("not what the attestation before it activates")
        if not self.expected:
            self.changes.append(("activated", ring_id, number))
        ring = self.keyrings[ring_id]
        if ring["versions"][number]["state"] not in ("pre-active", "deactivated"):
            raise Bad("a version activated that is neither pre-active nor deactivated")
        ring["former_primary"] = ring["primary"]
        if ring["primary"]:
            self.owed.add(ring_id)
        if ring["versions"][number]["state"] == "deactivated":  # who spoke of it did not speak of what comes now
            self.acknowledged = {k: v for k, v in self.acknowledged.items() if k[0] != ring_id or v < number}
        if ring["primary"]:
            former = ring["versions"][ring["primary"]]
            former |= {"state": "deactivated" if former["state"] == "active" else former["state"], "deactivated": when(time)}
            ring["rotated"] = time
        ring["versions"][number] |= {"state": "active", "activated": when(time), "deactivated": None}
        ring["activated_ms"] = time
        ring["primary"] = number

    def kind_30(self, r, time):
        serial, label, model, maker, customer, group = r.text(), r.text(), r.text(), r.text(), r.number(1), r.text()
        self.changes.append(("enrolled", serial, label, model, maker, customer, group))
        if group and self.main_token and group not in (self.main_token, *self.tokens):
            raise Bad("the member of a group that is not enrolled")
        if serial in (self.main_token, group) or (group and serial in self.tokens):
            raise Bad("the main token enrolled, or a token twice")
        if not group:
            self.tokens[serial] = customer

    def kind_31(self, r, time):
        size, wanted, where = r.number(8), r.take(32).hex(), r.text()
        if size % 256 or size <= (self.archives[-1][0] if self.archives else 0):
            raise Bad("an archive out of order")
        self.archives.append((size, wanted))
        self.changes.append(("archived", size, wanted, where))

    def kind_10(self, r, time):
        epoch, control_note, evidence_note = r.number(8), r.text(), r.text()
        unused = [r.take(r.number(4)).hex() for _ in range(r.number(2))]
        if epoch <= self.epoch:
            raise Bad("an epoch that is not a later one")
        self.changes.append(("opened", epoch, unused))
        self.epochs.append({"former": self.epoch, "epoch": epoch, "control": control_note, "evidence": evidence_note})
        self.epoch, self.frozen = epoch, False
        for p in self.proposals.values():  # what was asked for before a restore is asked for again
            p["fate"] = "outdated" if p["fate"] == "open" else p["fate"]

    def kind_11(self, r, time):
        number, former, following, signature = r.number(4), r.text(), r.text(), r.take(r.number(4))
        if number != max(1, len(self.checkpoint_keys)) + 1 or (self.checkpoint_keys and self.checkpoint_keys[-1] != former):
            raise Bad("a checkpoint key out of order")
        if not Key(former).vouches(following, signature) or Key(following).name != f"strongroom/{self.instance}":
            raise Bad("the former checkpoint key does not vouch for the next one")
        self.checkpoint_keys = (self.checkpoint_keys or [former]) + [following]
        self.changes.append(("key", number))

    def kind_12(self, r, time):
        text = r.text()
        self.former_roster = self.roster
        self.changes.append(("roster", text))
        self.take_roster(text)

    def kind_32(self, r, time):
        named = f"{r.number(8)} {r.take(32).hex()}"
        changes = [p for p in self.proposals.values() if p["fate"] == "consumed"
                   and p["fields"]["operation"] == "roster.change" and p["params"]["new-roster"] == named]
        if not changes:
            raise Bad("a roster that no proposal under execution leads to")
        self.former_roster = self.roster
        text = self.roster_after(changes[0]["params"])
        self.changes.append(("roster", text))
        self.take_roster(text)

    def kind_9(self, r, time):
        p = self.proposal(r, "consumed")
        p["fate"] = "executed" if r.number(1) == 1 else "failed"
        r.text(), r.text()
        if self.changes != (self.wanted(p) if p["fate"] == "executed" else []):
            raise Bad("the changes before it are not what its proposal says")
        self.changes = []
        if p["fate"] == "executed" and p["fields"]["operation"] == "ledger.adopt":
            self.epochs[-1]["proposal"] = p

    def wanted(self, p):
        """What a proposal does, by its own text, to the keyrings as they were."""
        f, params = p["fields"], p["params"]
        if f["operation"] == "roster.change":
            return [("roster", self.roster_after(params))]
        if f["operation"] == "ledger.rotate-key":
            return [("key", int(params["checkpoint-key"]))]
        if f["operation"] == "ledger.adopt":
            return self.wanted_of_adoption(params)
        if f["operation"] == "clock.accept":
            return [("clock",)]
        if f["operation"] == "ledger.archive":
            size, wanted = params["evidence-log"].split(" ")
            return [("archived", int(size), wanted, params["where"])]
        if f["operation"] == "token.enrol":
            if "member" in params:
                return [("enrolled", params["member"], params["label"], params["model"], params["manufacturer"], 0,
                         params["token"])]
            mark = lambda name: "" if params[name] == "-" else params[name]
            return [("enrolled", params["token"], mark("label"), mark("model"), mark("manufacturer"),
                     {"appliance": 0, "customer": 1}[params["owner"]], "")]
        if f["operation"] == "break-glass.open":
            id = hashlib.sha256(p["text"].encode()).hexdigest()[:32]
            return [("break-glass", id, params["check"], params["scope"], int(params["minutes"]), int(params["uses"]),
                     1 if params["drill"] == "yes" else 0)]
        ring = params["keyring-id"]
        if f["operation"] == "keyring.set-policy":
            days = 0 if params["rotate-days"] == "none" else int(params["rotate-days"])
            if days and (days < 30 or days > 360 or days % 30):
                raise Bad("a policy outside of its bounds")
            until = self.keyrings[ring]["policy"]["until"]
            if (when(until) if until else None) != params.get("until"):
                raise Bad("a policy until another time than its proposal's")
            expire = params.get("expire-days", "none")
            return [("policy", ring, days, until, 1 if params["enforce"] == "yes" else 0,
                     1 if params.get("rewrap", "yes") == "yes" else 0, 0 if expire == "none" else int(expire),
                     1 if params.get("attest", "no") == "yes" else 0)]
        id = hashlib.sha256(p["text"].encode()).hexdigest()[:32]
        if f["operation"] == "rewrap.start":
            return [("job", id, ring, 1, int(params["to-version"]), 1 if params["quarantined"] == "retry" else 0)]
        if f["operation"] == "rewrap.reverse":
            return self.wanted_of_reverse(id, ring, int(params["from-version"]), int(params["version"]))
        if f["operation"] == "keyring.enable":
            return [("enabled", ring)]
        if f["operation"] == "grant.change":
            return [("grants", ring, params["grants"])]
        if f["operation"] in ("version.archive", "version.destroy"):
            self.check_awaited(ring, int(params["version"]), params.get("waive", "none").split(","))
        if f["operation"] in ("version.archive", "version.restore"):
            to = {"version.archive": "archived", "version.restore": "restored"}[f["operation"]]
            return [("moved", ring, int(params["version"]), to, 0)]
        if f["operation"] == "version.destroy":
            if not 7 <= int(params["waiting-days"]) <= 365:
                raise Bad("a waiting period under its floor")
            return [("moved", i, n, "pending-destruction", int(params["waiting-days"]))
                    for i, n in self.sharing(ring, int(params["version"]))]
        version, suite, custody = int(params["version"]), params["suite"], params["custody"]
        out = []
        if custody.startswith("token:"):
            kek, token = ring + f"{version:08x}", custody[6:]
        else:  # wrapped by the install keyring's primary
            install = next(k for k in self.keyrings.values() if k["name"] == "install")
            primary = install["versions"][install["primary"]]
            kek, token = primary["kek"], primary["token"]
        if f["operation"] == "keyring.create":
            out.append(("created", ring, f["keyring"]))
            if self.keyrings[ring]["grants"] != params["grants"]:
                raise Bad("grants that its proposal does not name")
        out += [("announced", ring, version, suite, custody, kek, token), ("activated", ring, version)]
        if f["operation"] == "keyring.emergency-rotate":
            for other, number in self.sharing(ring, int(params["from-version"]))[1:]:
                n = len(self.keyrings[other]["versions"])
                if self.keyrings[other]["former_primary"] == number:
                    out += [("announced", other, n, suite, "keyring:install", kek, token), ("activated", other, n)]
        if f["operation"] in ("rekey.start", "version.adopt"):
            if version != len(self.keyrings[ring]["versions"]) or token not in (self.main_token, *self.tokens):
                raise Bad("a version out of order, or in a token that is not enrolled")
            former = self.keyrings[ring]["versions"][int(params["from-version"])]
            if (former["token"] == token) != (f["operation"] == "version.adopt") or params["token"] != former["token"]:
                raise Bad("a keyring moved from another token than its own, or adopted from another")
            if f["operation"] == "version.adopt" and (token not in self.tokens or f["keyring"] == "install"):
                raise Bad("a key adopted that is in no further token")
        if f["operation"] in ("keyring.rotate", "rekey.start") and f["keyring"] == "install":
            for name, other in sorted((k["name"], i) for i, k in self.keyrings.items()):
                if self.keyrings[other]["versions"][1]["custody"] == "keyring:install":
                    n = len(self.keyrings[other]["versions"])
                    out += [("announced", other, n, suite, "keyring:install", kek, token), ("activated", other, n)]
        waits = f["operation"] in ("keyring.rotate", "rekey.start", "version.adopt") and self.keyrings[ring].get("policy", {}).get("attest")
        return [c for c in out if not waits or c[0] == "announced"]

    def roster_after(self, params):
        """The roster that a change makes of the one before it, and the new custodians' proofs that their keys are theirs."""
        before = self.former_roster
        lines = before.splitlines()
        people = {l.split(" ")[1]: l for l in lines if l.startswith("principal: ")}
        policies = {l.split(" ")[1]: l.split(" ")[2] for l in lines if l.startswith("policy: ")}
        for name in [k[7:] for k in params if k.startswith("remove-")]:
            people.pop(name)
        for name, value in [(k[4:], v) for k, v in params.items() if k.startswith("add-")]:
            if name in people:
                raise Bad(f"{name} is in the roster already")
            people[name] = f"principal: {name} {value}"
            if value.split(" ")[0] == "custodian":
                key = " ".join(value.split(" ")[2:4])
                text = f"strongroom key possession v1\ninstance: {self.instance}\nprincipal: {name}\nkey: {key}\n"
                armor = "-----BEGIN SSH SIGNATURE-----\n" + params[f"proof-{name}"] + "\n-----END SSH SIGNATURE-----\n"
                if not ssh_verify(f'{name} namespaces="roster@strongroom" {key}\n', name, "roster@strongroom", text, armor):
                    raise Bad(f"{name} has not shown that the key is hers")
        policies.update({k[7:]: v for k, v in params.items() if k.startswith("policy-")})
        more = ""
        for line, prefix in (("organisation", "organisation-"), ("group", "group-"), ("requires", "require-")):
            had = {l.split(" ")[1]: l.split(" ", 2)[2] for l in lines if l.startswith(line + ": ")}
            for name, value in [(k[len(prefix):], v) for k, v in params.items() if k.startswith(prefix)]:
                had.pop(name, None)
                if value != "none":
                    had[name] = " ".join(",".join(sorted(word.split(","))) for word in value.split(" "))
            more += "".join(f"{line}: {name} {had[name]}\n" for name in sorted(had))
        version = int(lines[2].split(" ")[1]) + 1
        after = (f"strongroom roster v1\ninstance: {self.instance}\nversion: {version}\nprevious: "
                 f"{hashlib.sha256(before.encode()).hexdigest()}\n"
                 + "".join(f"policy: {c} {m}\n" for c, m in sorted(policies.items())) + more
                 + "".join(people[n] + "\n" for n in sorted(people)))
        if params["new-roster"] != f"{version} {hashlib.sha256(after.encode()).hexdigest()}":
            raise Bad("a change that makes another roster than it names")
        return after

    def wanted_of_adoption(self, params):
        words = [w for n in range(1, len(params)) for w in params.get(f"keys-{n}", "none").split(" ") if w != "none"]
        named = [w.split(":") for w in words]
        out = [("opened", int(params["epoch"]), [kek for kek, _, place in named if place == "unused"])]
        changed = sum(1 for c in self.changes if c[0] == "key")
        number, before = int(params["checkpoint-key"]), max(1, len(self.checkpoint_keys)) - changed
        if number not in (before, before + 1):
            raise Bad("the checkpoint key is another one than the log names")
        out += [("key", number)] if number == before + 1 else []
        seen = {}
        for kek, suite, place in named:
            if place == "unused":
                continue
            name, version = place.split("/")
            ring = next(i for i, k in self.keyrings.items() if k["name"] == name)
            if kek != ring + f"{int(version):08x}":
                raise Bad("a key of another keyring than it is named for")
            token = params["token"]
            out += [("announced", ring, int(version), suite, "token:" + token, kek, token), ("activated", ring, int(version))]
            if name == "install":
                # How many versions the wrapped keyrings had before this proposal's changes: those now, less what it added.
                added = sum(1 for c in self.changes if c[0] == "announced" and c[1] == ring)
                seen[ring] = seen.get(ring, 0) + 1
                for _, other in sorted((k["name"], i) for i, k in self.keyrings.items()):
                    if self.keyrings[other]["versions"][1]["custody"] == "keyring:install":
                        n = len(self.keyrings[other]["versions"]) - added + seen[ring]
                        out += [("announced", other, n, suite, "keyring:install", kek, token), ("activated", other, n)]
        return out

    def version_json(self, v):
        out = {k: x for k, x in v.items() if k not in ("compromised", "moved", "due", "emergency")}
        if v.get("moved"):
            out["moved"] = when(v["moved"])
        if v.get("due"):
            out["destruction_due"] = when(v["due"])
        return out

    def policy_json(self, k):
        policy, out = k.get("policy", {}), {}
        if policy.get("days"):
            out = {"rotate_days": policy["days"], "until": when(policy["until"]), "enforce": bool(policy["enforce"]),
                   "next_rotation": when(self.next_rotation(k))}
        if not policy.get("rewrap", 1):
            out["rewrap"] = False
        if policy.get("expire"):
            out["expire_days"] = policy["expire"]
        if policy.get("attest"):
            out["attest"] = True
        return {"policy": out} if out else {}

    def keyrings_json(self):
        out = []
        for ring, k in sorted(self.keyrings.items(), key=lambda item: item[1]["name"]):
            primary = k["versions"][k["primary"]]
            out.append({"name": k["name"], "suite": primary["suite"], "custody": primary["custody"],
                        "state": "enabled" if k.get("enabled", True) else "disabled",
                        "primary": k["primary"], "created": when(k["created"]), "last_rotation": when(k["rotated"]),
                        "id": ring, "grants": k["grants"], **self.policy_json(k),
                        "versions": [self.version_json(v) for _, v in sorted(k["versions"].items())]})
        return json.dumps(out, separators=(",", ":")) + "\n"


def judge_epochs(control, log, leaves, keys):
    """What each adoption kept and went on from is this log's own beginning; what its token had signed beyond is lost."""
    lost = []
    for epoch in control.epochs:
        what, kept = f"{log}: epoch {epoch['epoch']}", 0
        if epoch[log]:
            text, _ = open_note(epoch[log], keys, what)
            kept, wanted = head_of(text, origin_of(log, keys[0].name, epoch["former"]), what)
            if kept > len(leaves) or root(leaves[:kept]) != wanted:
                raise Bad(f"{what} does not begin with what was signed before it")
        proposal = epoch["proposal"]
        head = proposal["fields"]["control-log"] if log == "control" else proposal["params"]["evidence-log"]
        size, wanted = head.split(" ")
        if int(size) > len(leaves) or root(leaves[:int(size)]).hex() != wanted:
            raise Bad(f"{what} does not go on from the head that was voted for")
        remembered = proposal["params"][f"token-{log}"].split(" ")
        if remembered == ["none"]:
            lost.append(f"{log} after {kept}")
        elif int(remembered[1]) != epoch["former"]:
            lost.append(f"{log} all of epoch {remembered[1]}, which ended at {int(remembered[3]) - 1}")
        elif int(remembered[3]) > kept:
            lost.append(f"{log} {kept} to {int(remembered[3]) - 1}")
    return lost


def backed_up(raw):
    """Number and digest of an evidence entry of a backup; None for any other."""
    r = Reader(raw)
    if r.take(2) != bytes([1, 1]):
        raise Bad("an evidence entry of another format")
    r.number(8), r.text(), r.text()
    operation, _, _ = r.number(1), r.text(), r.take(16)
    items, _, digest, outcome = r.number(4), r.number(4), r.take(32), r.text()
    return (items, digest.hex()) if operation == 8 and outcome == "ok" else None


def judge_inventory(folder, evidence):
    """An unpacked backup has the inventory beside the export: it must be the one that the last backup recorded."""
    if not (folder.path / "inventory.ndjson").exists():
        return ""
    recorded = [b for b in map(backed_up, evidence) if b]
    lines = folder.read("inventory.ndjson").decode().split("\n")
    if lines[-1] or lines[-2] != f"# end, wrapped DEKs: {len(lines) - 2}":
        raise Bad("inventory: cut off")
    hashed, last = hashlib.sha256(), ("", "")
    for line in lines[:-2]:
        record = json.loads(line)
        ring = base64.urlsafe_b64decode(record["wrapped"][5:] + "===")[18:34].hex()  # crypto/ENVELOPE.md
        if (ring, record["id"]) <= last:
            raise Bad("inventory: a record twice or out of order")
        last = (ring, record["id"])
        hashed.update(f"{ring} {record['id']} {record['wrapped']} {record['stored']} {record.get('quarantine', '-')} {record.get('owner', '-')}\n".encode())
    if not recorded or recorded[-1] != (len(lines) - 2, hashed.hexdigest()):
        raise Bad("inventory: not the one that the evidence log has of the last backup")
    return f", {len(lines) - 2} wrapped DEKs"


def verify(path, vkey, archives):
    folder, control = Folder(path, vkey, archives), Control()
    folder.follow_keys()
    entries, leaves = folder.entries("control")
    for index, entry in enumerate(entries):
        control.index = index
        try:
            control.take(entry)
        except Bad as bad:
            raise Bad(f"control entry {index}: {bad}") from None
        except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as bad:
            raise Bad(f"control entry {index}: cannot be read ({bad!r})") from None
    if control.changes:
        raise Bad("control: it ends with changes that no execution settles")
    if folder.name != f"strongroom/{control.instance}":
        raise Bad("the key is of another instance than the log")
    if control.checkpoint_keys and vkey not in control.checkpoint_keys:
        raise Bad("the key is none of those that the log names")
    newest = control.checkpoint_keys[-1] if control.checkpoint_keys else vkey
    all_keys = [Key(vkey)] + [Key(k) for k in control.checkpoint_keys if k != vkey]
    lost = judge_epochs(control, "control", leaves, all_keys)
    folder.archived = control.archives[-1][0] if control.archives else 0
    evidence, leaves = folder.entries("evidence")
    inventory = judge_inventory(folder, evidence)
    for size, wanted in control.archives:
        if size > len(leaves) or root(leaves[:size]).hex() != wanted:
            raise Bad(f"evidence before entry {size}: not what votes have archived")
    lost += judge_epochs(control, "evidence", leaves, all_keys)
    for log, (origin, signers) in folder.heads.items():
        if origin != origin_of(log, folder.name, control.epoch) or newest not in signers:
            raise Bad(f"{log} checkpoint: of another epoch, or not signed by the key in force")
    wanted = {"keyrings.json": control.keyrings_json(), "ledger.vkey": newest + "\n"}
    for version, text in control.rosters.items():
        wanted[f"rosters/{version}/roster.txt"] = text
        wanted[f"rosters/{version}/allowed_signers"] = control.signers_of[version]
    if (folder.path / "votes").exists():  # the first builds wrote none
        wanted.update(control.vote_files)
    for name, content in wanted.items():
        if folder.read(name) != content.encode():
            raise Bad(f"{name}: does not follow from the control log")
    parents = {str(p) for name in folder.seen for p in pathlib.PurePath(name).parents}
    for file in folder.path.rglob("*"):
        name = str(file.relative_to(folder.path))
        if file.is_symlink() or name not in (parents if file.is_dir() else folder.seen):
            raise Bad(f"{name}: not part of the export")
    return f"verified {len(entries)} control entries, {control.votes} votes, {control.executions} executions, {len(evidence)} evidence entries{inventory}" + "".join(f"; lost {l}" for l in lost) + "".join(f"; finding: {f}" for f in control.findings)


try:
    print(verify(sys.argv[1], pathlib.Path(sys.argv[2]).read_text().strip(), sys.argv[3:]))
except (AttributeError, Bad, IndexError, KeyError, OSError, TypeError, ValueError) as bad:
    print(f"BAD {bad}")
    sys.exit(3)
