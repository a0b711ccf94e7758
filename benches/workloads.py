"""The workloads that are measured, and what they need: an origin, a gateway in front of it, a client.

`benches/instructions` counts them, `deploy/release` trains the compiler with them. Called as a program, this file sends
each of them to a gateway (with --tls it needs openssl and nginx):

    /usr/bin/python3 benches/workloads.py --requests 500 target/release/referral-gateway
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/referral-gateway"

# How long one answer may take. It is reached only when something is broken.
PATIENCE = 60

ID = "5f1c2d3e-0001-4a4a-9b9b-00000000a001"
PATH = f"/v1.0/engagements/referrals/{ID}"
TAG = '"3a00ab3b-0000-1500-0000-5f1e7d8a0000"'

# What the shipped limits would refuse is not what is measured.
SETTINGS = """\
listen: 127.0.0.1:{port}
tls: {tls}
telemetry: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
upstream: {upstream}
rate_limit:
  reads: {{ per_minute: 600000000, burst: 1000000 }}
  writes: {{ per_minute: 600000000, burst: 1000000 }}
  concurrency: 1000000
log: {{ level: {level}, format: auto }}
"""

# What speaks TLS in front of the origin. It serves HTTP/2 where the gateway may choose it.
NGINX = """\
daemon off;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    proxy_http_version 1.1;
    upstream origin {{
        server {origin};
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{first} ssl;
        listen 127.0.0.1:{second} ssl http2;
        location / {{
            proxy_pass http://origin;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

# The log as shipped writes JSON, since standard output is a pipe.
LEVELS = {"warn": "warn", "shipped": "info"}


def referral():
    """A referral as the service answers it, about 2.7 KB."""
    team = [
        ("Anna", "Kovács", "+36 1 555 0117", "anna.kovacs@contoso.example"),
        ("Béla", "Nagy", "+36 1 555 0175", "bela.nagy@contoso.example"),
        ("Dora", "Szabó", "+36 1 555 0123", "dora.szabo@fabrikam.example"),
        ("Mark", "Tóth", "+36 1 555 0129", "mark.toth@fabrikam.example"),
    ]
    names = ("firstName", "lastName", "phoneNumber", "email")
    people = [dict(zip(names, person)) for person in team]
    organization = "c8a2d7f0-8a0e-4d84-a6b0-4ab0f29b8d4b"
    preference = {"locale": "hu-hu", "disableNotifications": False}
    base = "https://api.partner.microsoft.com/v1.0/engagements/referrals"
    return {
        "id": ID,
        "engagementId": "5f1c2d3e-9a52-4d0e-b1a7-5c6d7e8f9a0b",
        "name": "Contoso cloud migration and modern workplace roll-out",
        "externalReferenceId": "CRM-000817-EU",
        "createdDateTime": "2026-09-14T08:21:44.1930000Z",
        "updatedDateTime": "2026-11-20T16:05:09.8810000Z",
        "expirationDateTime": "2027-01-14T08:21:44.1930000Z",
        "status": "Active",
        "substatus": "Accepted",
        "qualification": "SalesQualified",
        "type": "Shared",
        "eTag": TAG,
        "isDirectionIncoming": True,
        "organizationId": organization,
        "organizationName": "Fabrikam Consulting Kft.",
        "customerProfile": {
            "name": "Contoso Manufacturing Zrt.",
            "size": "501to1000employees",
            "address": {
                "addressLine1": "Váci út 132",
                "addressLine2": "3. emelet",
                "city": "Budapest",
                "state": "",
                "postalCode": "1138",
                "country": "HU",
            },
            "team": [{**person, "contactPreference": preference} for person in people[:2]],
            "ids": [
                {"profileType": "External", "profileId": "0017F00000XyZaBQAV"},
                {"profileType": "Duns", "profileId": "401234567"},
            ],
        },
        "consent": {
            "consentToShareInfoWithOthers": True,
            "consentToContact": True,
            "consentToShareReferralWithMicrosoftSellers": True,
        },
        "details": {
            "notes": "The customer asked for a phased plan: identity first, then mail, then 340 devices. Budget is "
            'agreed for the first two phases; the third waits for the "go" of the plant in Győr. Next call on '
            "Thursday.",
            "dealValue": 182500.0,
            "currency": "EUR",
            "closingDateTime": "2027-03-31T00:00:00Z",
            "requirements": {
                "industries": [{"id": "Manufacturing"}, {"id": "Discrete"}],
                "products": [{"id": "Azure"}, {"id": "Microsoft365"}, {"id": "Dynamics365"}],
                "services": [{"id": "Migration"}, {"id": "Managed"}],
                "solutions": [
                    {"type": "Name", "name": "Modern workplace", "id": "SOL-11201-QXT"},
                    {"type": "Name", "name": "Datacenter exit", "id": "SOL-44107-LLP"},
                ],
                "additionalRequirements": "ISO 27001 evidence is needed before the pilot.",
            },
        },
        "team": people[2:],
        "favoriteFor": [],
        "inviteContext": {"notes": "", "invitedBy": {"organizationId": organization}},
        "links": {
            "relatedReferrals": {"uri": f"{base}?$filter=engagementId eq '5f1c2d3e'", "method": "GET"},
            "self": {"uri": f"{base}/{ID}", "method": "GET"},
        },
    }


def packed(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def token():
    """A bearer token of the usual claims and length. Nobody checks its signature."""
    claims = {
        "aud": "https://api.partner.microsoft.com",
        "iss": "https://sts.windows.net/8f14e45f-ceea-467a-9575-000000000001/",
        "tid": "8f14e45f-ceea-467a-9575-000000000001",
        "appid": "a0b1c2d3-1111-4222-8333-444455556666",
        "oid": "d2a1f6c4-5a3b-4c2d-9e1f-0a9b8c7d6e5f",
        "scp": "user_impersonation",
        "upn": "dora.szabo@fabrikam.example",
        "ver": "1.0",
        "iat": 1764000000,
        "nbf": 1764000000,
        "exp": 4102444800,
        "wids": ["62e90394-69f5-4237-9190-012177145e10"] * 4,
    }
    head = {"typ": "JWT", "alg": "RS256", "kid": "nOo3ZDrODXEK1jKWhXslHR_KXEg"}
    parts = [base64.urlsafe_b64encode(packed(part)).rstrip(b"=").decode() for part in (head, claims)]
    return ".".join([*parts, "Q" * 342])


def request(method, body=None, kind="application/json", tag=None):
    fields = {
        "Host": "api.partner.microsoft.com",
        "User-Agent": "Fabrikam-CRM/4.2",
        "Accept": "application/json",
        "Authorization": f"Bearer {token()}",
        "MS-RequestId": "5a2d7c6e-2f4b-4e89-8f5b-6b1d2c3e4f50",
        "MS-CorrelationId": "9c1b2a3d-4e5f-4a6b-8c7d-0e1f2a3b4c5d",
        "X-Locale": "hu-HU",
    }
    if body is not None:
        fields |= {"Content-Type": kind, "Content-Length": len(body)}
    if tag:
        fields["If-Match"] = tag
    lines = [f"{method} {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def answer():
    """What the origin answers to everything: the referral at its tag."""
    body = packed(referral())
    fields = {
        "content-type": "application/json; charset=utf-8",
        "content-length": len(body),
        "date": "Mon, 23 Nov 2026 04:00:00 GMT",
        "ms-requestid": "7f2b6f5a-54ce-4f0a-9f86-3e7b0c0b8b11",
        "ms-correlationid": "2b6e2a13-4a1c-4c51-9f31-1c2ad0a1d9a4",
        "x-content-type-options": "nosniff",
        "etag": TAG,
    }
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


# Behind the name of a workload whose client speaks TLS with the gateway.
OVER_TLS = ", TLS"


def workloads():
    """Name, request, and the status of its answer."""
    body = packed({name: value for name, value in referral().items() if name != "links"})
    steps = {"status": "Active", "substatus": "Accepted"}
    patch = packed([{"op": "replace", "path": f"/{name}", "value": value} for name, value in steps.items()])
    kind = "application/json-patch+json"
    return {
        "W1 GET": (request("GET"), 200),
        "W2 PUT, judged": (request("PUT", body, tag=TAG), 200),
        "W3 PUT, refused": (request("PUT", body), 428),
        "PATCH with tag": (request("PATCH", patch, kind, TAG), 200),
        "PATCH without tag": (request("PATCH", patch, kind), 200),
        f"W1 GET{OVER_TLS}": (request("GET"), 200),
        f"W2 PUT, judged{OVER_TLS}": (request("PUT", body, tag=TAG), 200),
    }


def names_over(tls):
    """The names of the workloads whose client speaks TLS with the gateway, or of the others."""
    return [name for name in workloads() if name.endswith(OVER_TLS) == tls]


class Messages:
    """The HTTP/1.1 messages that come in on a connection."""

    def __init__(self, connection):
        self.connection = connection
        self.rest = b""

    def next(self):
        """The head of the next message; its body is read and dropped. Nothing at the end of the connection."""
        while (end := self.rest.find(b"\r\n\r\n")) < 0:
            if not self.fill():
                return None
        head = self.rest[:end]
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        whole = end + 4 + length
        while len(self.rest) < whole:
            if not self.fill():
                return None
        self.rest = self.rest[whole:]
        return head

    def fill(self):
        part = self.connection.recv(1 << 16)
        self.rest += part
        return part


@contextlib.contextmanager
def origin():
    """The URL of an origin that answers every request alike."""
    bytes_of_answer = answer()

    def serve(connection):
        with contextlib.suppress(OSError), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            messages = Messages(connection)
            while messages.next():
                connection.sendall(bytes_of_answer)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def encrypted(upstream):
    """The URLs of nginx in front of an origin, for HTTP/1.1 and HTTP/2 over TLS, and the file of its certificate."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = pathlib.Path(folder) / "certificate.pem"
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        use = ["-addext", "basicConstraints=CA:FALSE"]
        files = ["-keyout", f"{folder}/key.pem", "-out", certificate]
        subprocess.run(["openssl", "req", "-x509", *kind, *names, *use, *files], check=True, capture_output=True)
        first, second = free_ports(2)
        settings = pathlib.Path(folder) / "nginx.conf"
        address = upstream.removeprefix("http://")
        settings.write_text(NGINX.format(folder=folder, first=first, second=second, origin=address))
        process = subprocess.Popen(["nginx", "-p", folder, "-e", "stderr", "-c", settings])
        try:
            connect(process, second).close()
            yield [f"https://localhost:{port}" for port in (first, second)], certificate
        finally:
            process.terminate()
            process.wait()


def free_ports(count):
    """Ports that nobody uses."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


class Broken(Exception):
    """Why nothing can be measured."""


class Log:
    """The pipe that a gateway's log goes to.

    While requests are sent, the pipe is full and nobody reads it. So the gateway keeps their records, and writes them
    together afterwards, as it does under load. How many it writes at once does not depend on the machine's speed.
    """

    def __init__(self):
        self.end, self.input = os.pipe()
        # The gateway's input is one that waits, so this is another one.
        self.filler = os.open(f"/proc/self/fd/{self.input}", os.O_WRONLY | os.O_NONBLOCK)

    def hold(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.filler, b"\n" * 4096)

    def release(self):
        while select.select([self.end], [], [], 0.05)[0]:
            os.read(self.end, 1 << 16)

    def finish(self):
        """Reads until the gateway has ended."""
        os.close(self.filler)
        while os.read(self.end, 1 << 16):
            pass
        os.close(self.end)


class Gateway:
    """A running gateway, its log, and one kept connection to it."""

    # Requests whose records the log keeps. It has room for thousands.
    STRETCH = 50

    def __init__(self, connection, log, pid):
        self.messages = Messages(connection)
        self.log = log
        self.pid = pid

    def send(self, name, times):
        """Sends a workload's request so many times, each when the last one is answered."""
        request, status = workloads()[name]
        expected = f"HTTP/1.1 {status} ".encode()
        for start in range(0, times, self.STRETCH):
            self.log.hold()
            for _ in range(start, min(start + self.STRETCH, times)):
                self.messages.connection.sendall(request)
                head = self.messages.next() or b"nothing"
                if not head.startswith(expected):
                    raise Broken(f"{name}: the answer is {head[:60].decode()!r} and not {status}")
            self.log.release()


def connect(process, port):
    """A connection to a program, as soon as it listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        time.sleep(0.01)
    raise Broken(f"{process.args[0]} does not listen")


def listener_tls(binary, folder):
    """The settings for TLS with a certificate that the gateway's own command makes, and the client's side of it."""
    made = pathlib.Path(folder) / "tls"
    subprocess.run([binary, "certificate", made], check=True, capture_output=True)
    settings = {"cert_file": str(made / "tls.crt"), "key_file": str(made / "tls.key")}
    return settings, ssl.create_default_context(cafile=made / "ca.pem")


@contextlib.contextmanager
def gateway(binary, level, upstream, *, tls=False, before=(), environment=None, core=None):
    """Runs a gateway until the block ends, then drains it. `before` is what its command line begins with."""
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = pathlib.Path(folder) / "config.yaml"
        of_listener, context = listener_tls(binary, folder) if tls else ({}, None)
        settings.write_text(
            SETTINGS.format(
                port=port, tls=json.dumps(of_listener), upstream=json.dumps(upstream), level=LEVELS[level]
            )
        )
        log = Log()
        process = subprocess.Popen(
            [*before, str(binary), "--config", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=log.input,
            # One core: one thread for all requests, and tables of one size on every machine.
            preexec_fn=lambda: core is None or os.sched_setaffinity(0, {core}),
            env=environment or {},
        )
        os.close(log.input)
        try:
            with connect(process, port) as connection:
                if context:
                    connection = context.wrap_socket(connection, server_hostname="localhost")
                yield Gateway(connection, log, process.pid)
                connection.close()
            process.send_signal(signal.SIGTERM)
            log.finish()
            if process.wait(PATIENCE):
                raise Broken(f"the gateway ended with {process.returncode}")
        finally:
            process.kill()
            process.wait()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary", nargs="?", default=BINARY, type=pathlib.Path)
    arguments.add_argument("--requests", type=int, default=500, help="how many of each workload")
    arguments.add_argument("--tls", action="store_true", help="over TLS as well, HTTP/1.1 and HTTP/2")
    given = arguments.parse_args()
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(origin())
        upstreams = [{"url": plain}]
        if given.tls:
            urls, certificate = stack.enter_context(encrypted(plain))
            upstreams += [{"url": url, "ca_file": str(certificate)} for url in urls]
        for upstream in upstreams:
            for level in LEVELS:
                for tls in (False, True):
                    environment = dict(os.environ)
                    with gateway(given.binary, level, upstream, tls=tls, environment=environment) as running:
                        for name in names_over(tls):
                            running.send(name, given.requests)


if __name__ == "__main__":
    try:
        main()
    except (Broken, OSError) as error:
        sys.exit(f"{sys.argv[0]}: {error}")
