"""Executes the examples of netapi/openapi.yaml against a running dev appliance.

Usage: openapi_examples.py OPENAPI_YAML DEV_DIR URL

Question: does the service take every request that the contract shows, and is every answer, good or bad, what the contract
says? Each example must fit its own schema; each answer must have a documented status and fit that status' schema, unknown
members included. What an example cannot know beforehand (a wrapped DEK, a proposal's id, a signature) is replaced by a real
one of the same shape. Roles are tried too: each that `x-roles` does not name must be refused.
"""
import http.client
import json
import pathlib
import ssl
import subprocess
import sys
import urllib.parse

import jsonschema
import yaml

contract = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
dev = pathlib.Path(sys.argv[2])
url = urllib.parse.urlparse(sys.argv[3])
ROLES = ["operator", "custodian", "auditor", "monitor", "service"]
failures, exchanges = [], 0


def check(ok, what):
    if not ok:
        failures.append(what)


def validator(schema):
    # References point into the contract: it comes along as the schema's own components.
    return jsonschema.Draft202012Validator({**schema, "components": contract["components"]})


def fits(schema, value, what):
    errors = [e.message[:300] for e in validator(schema).iter_errors(value)]
    check(not errors, f"{what}: {errors} in {json.dumps(value)[:600]}")


def call(principal, method, path, body):
    context = ssl.create_default_context(cafile=dev / "ca.pem")
    context.load_cert_chain(dev / f"clients/{principal}.pem", dev / f"clients/{principal}.key")
    connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=30)
    headers = {"Request-Id": "Example-1"} | ({"Content-Type": "application/json"} if body is not None else {})
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    raw = answer.read()
    is_json = answer.headers["Content-Type"].split(";")[0].endswith("json")
    return answer.status, dict(answer.getheaders()), json.loads(raw) if is_json else raw.decode("latin-1")


def resolve(node):
    while "$ref" in node:
        name = node["$ref"].split("/")[1:]
        node = contract
        for part in name:
            node = node[part]
    return node


def answer_schema(operation, status):
    responses = operation["responses"]
    response = responses.get(str(status)) or responses.get(f"{status // 100}XX")
    if response is None:
        return None
    (kind, content), *_ = resolve(response)["content"].items()
    return kind, content["schema"]


def judge(what, operation, status, headers, value):
    global exchanges
    exchanges += 1
    documented = answer_schema(operation, status)
    check(documented is not None, f"{what}: status {status} is not documented: {value}")
    if documented is None:
        return
    kind, schema = documented
    check(headers.get("Content-Type") == kind, f"{what}: {headers.get('Content-Type')}, documented is {kind}")
    check(headers.get("Request-Id") == "Example-1", f"{what}: Request-Id {headers.get('Request-Id')}")
    fits(schema, value, f"{what} -> {status}")


known = {}


def wrapped_now():
    _, _, value = call("service-1", "POST", "/v1/keyrings/install/wrap",
                       {"plaintext": "MDEyMzQ1Njc4OWFiY2RlZg==", "aad": "aW52b2ljZS0xNw=="})
    return value["wrapped"]


def real(value):
    """The example with what it could not know: wrapped DEKs are the service's own, but for the ones meant to be bad."""
    if isinstance(value, dict):
        return {k: wrapped_now() if k == "wrapped" and len(v) > 12 else real(v) for k, v in value.items()}
    return [real(v) for v in value] if isinstance(value, list) else value


def vote(custodian, verdict):
    text = known["text"] + f"verdict: {verdict}\n"
    signed = subprocess.run(["ssh-keygen", "-Y", "sign", "-n", "vote@strongroom", "-f", dev / f"approvers/{custodian}"],
                            input=text.encode(), capture_output=True, check=True)
    return {"custodian": custodian, "verdict": verdict, "signature": signed.stdout.decode()}


def principal_of(role):
    return f"{role}-1"


for path, methods in contract["paths"].items():
    for method, operation in methods.items():
        name = operation["operationId"]
        parameters = [resolve(p) for p in operation.get("parameters", [])]
        query = urllib.parse.urlencode({p["name"]: p["example"] for p in parameters
                                        if p["in"] == "query" and "example" in p})
        target = path
        for p in parameters:
            if p["in"] == "path":
                target = target.replace("{%s}" % p["name"], str(known.get(p["name"], p["example"])))
        target += "?" + query if query else ""
        json_body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        examples = {k: v["value"] for k, v in json_body["examples"].items()} if json_body else {"": None}
        for example, body in examples.items():
            if body is not None:
                fits(json_body["schema"], body, f"{name} example {example}")
            sent = real(body)
            if name == "vote":
                sent = vote(sent["custodian"], sent["verdict"])
            if name == "unwrapDek":  # the example before it has taken it away
                call("service-1", "PUT", target.removesuffix("/unwrap"), {"wrapped": wrapped_now()})
            status, headers, value = call(principal_of(operation["x-roles"][0]), method.upper(), target, sent)
            judge(f"{name} {example}", operation, status, headers, value)
            if name == "beginBackup":
                known["backup"] = value["id"]
            if name == "fileProposal":
                known |= {"id": value["id"], "text": value["text"]}
            wanted = {"acknowledge": 409, "emergencyReport": 409, "closeEmergency": 409, "attestVersion": 409, "showJob": 404, "pauseJob": 404,
                      "resumeJob": 404, "cancelJob": 404, "fileProposal": 201, "beginBackup": 201, "recordCeremony": 201, "withdraw": 409, "cancelDestruction": 409,
                      "closeBreakGlass": 404, "reviewBreakGlass": 404}.get(name, 200)
            if name == "execute":  # one vote is not enough; then the other custodian's
                check(status == 403, f"execute without a quorum: {status}")
                call("service-1", "POST", f"/v1/proposals/{known['id']}/votes", vote("custodian-2", "approve"))
                status, headers, value = call("operator-1", "POST", target, None)
                judge("execute", operation, status, headers, value)
            check(status == wanted, f"{name} {example}: {status} {value}")
        for role in ROLES:
            if role in operation["x-roles"]:
                continue
            status, headers, value = call(principal_of(role), method.upper(), target, None)
            judge(f"{name} as {role}", operation, status, headers, value)
            check(status == 403, f"{name} as {role}: {status}")

# What is not in a schema is refused, in every body.
for path, methods in contract["paths"].items():
    for method, operation in methods.items():
        if "requestBody" in operation:
            target = path.replace("{keyring}", "install").replace("{id}", known["id"]).replace("{dek}", "invoice-17").replace("{version}", "1")
            status, headers, value = call(principal_of(operation["x-roles"][0]), method.upper(), target, {"no-such": 1})
            judge(f"{operation['operationId']} with an unknown field", operation, status, headers, value)
            check(status == 400, f"{operation['operationId']} took an unknown field: {status}")

for failure in failures:
    print(failure)
print(f"{exchanges} exchanges, {len(failures)} not as documented")
sys.exit(1 if failures or exchanges < 50 else 0)
