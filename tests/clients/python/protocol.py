"""What the adapters for Python share: the protocol that tests/integration/clients.rs speaks with them.

A line on stdin is a request: TIMES, METHOD, URL, HEADERS and BODY with a tab between. TIMES lines on
stdout are the answers: STATUS, HEADERS and BODY, or ERROR and a text.
"""

import asyncio
import base64
import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple, Optional

BASE = os.environ["BASE"]
TOKEN = os.environ["TOKEN"]
BEARER = {"Authorization": f"Bearer {TOKEN}"}
# Seconds that a request may take.
LIMIT = 60


class Request(NamedTuple):
    method: str
    url: str
    headers: list
    body: Optional[bytes]

    @property
    def relative(self):
        """The URL as a library with a base URL is given it: the path, unless it leads elsewhere."""
        return self.url[len(BASE) :] if self.url.startswith(BASE + "/") else self.url

    @property
    def unique_headers(self):
        """For libraries that take a dictionary: they cannot send a header twice."""
        headers = dict(self.headers)
        if len(headers) != len(self.headers):
            raise ValueError("this library sends each header once")
        return headers


def _read(line):
    times, method, url, headers, body = line.rstrip("\n").split("\t")
    lines = base64.b64decode(headers).decode().splitlines()
    pairs = [tuple(line.split(": ", 1)) for line in lines]
    return int(times), Request(method, url, pairs, None if body == "-" else base64.b64decode(body))


def _write(*fields):
    print(*fields, sep="\t", flush=True)


def _encoded(text):
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _answer(status, headers, body):
    lines = "".join(f"{name.lower()}: {value}\n" for name, value in headers)
    _write(status, _encoded(lines), base64.b64encode(body).decode() if body else "-")


def _failure(error):
    _write("ERROR", _encoded(f"{type(error).__name__} {error}"))


def _refuse_walk(times, request):
    if request.method == "WALK":
        for _ in range(times):
            _write("ERROR", _encoded("no pager"))
    return request.method == "WALK"


def serve(send):
    """Calls `send(request)`, in threads if many are sent at once. It returns status, headers, body."""
    for line in sys.stdin:
        times, request = _read(line)
        if _refuse_walk(times, request):
            continue
        with ThreadPoolExecutor(times) as threads:
            for sent in as_completed([threads.submit(send, request) for _ in range(times)]):
                try:
                    _answer(*sent.result())
                except Exception as error:
                    _failure(error)


async def serve_async(send):
    """The same for a coroutine. The event loop goes on between two requests, as in a program that idles."""

    async def one(request):
        try:
            _answer(*await send(request))
        except Exception as error:
            _failure(error)

    while line := await asyncio.to_thread(sys.stdin.readline):
        times, request = _read(line)
        if not _refuse_walk(times, request):
            await asyncio.gather(*(one(request) for _ in range(times)))
