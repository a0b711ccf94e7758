"""What the clients in Python share: the requests to send, as arguments, and the counts, as one line of JSON.

Arguments: base URL, number of tries, the request that must pass, and the requests that are refused. Each request is a
line with method, path, size of the body, expected status and expected code, and a line for each header field.
"""

import asyncio
import inspect
import json
import sys

# How long a request may take. It is reached only when a test fails.
PATIENCE = 20


class Request:
    def __init__(self, base, text):
        line, *fields = text.split("\n")
        self.method, self.path, size, status, self.code = line.split(" ")
        self.url = base + self.path
        self.headers = dict(field.split(": ", 1) for field in fields)
        self.body = b"x" * int(size) if int(size) else None
        self.status = int(status)
        self.name = f"{self.status} {self.code}, {size} bytes"

    def fault(self, status, body):
        """What is wrong with an answer, if anything is."""
        if status != self.status:
            return f"status {status}"
        code = json.loads(body).get("error", {}).get("innerError", {}).get("code", "-")
        return None if code == self.code else f"code {code}"


async def fault(send, request):
    """Sends a request and says what is wrong with its answer, or that none came."""
    try:
        answer = send(request)
        return request.fault(*(await answer if inspect.isawaitable(answer) else answer))
    except Exception as error:
        return repr(error)


async def counts(send, tries, refused, passing):
    right, lost, broken = 0, [], []
    for _ in range(tries):
        if error := await fault(send, refused):
            lost.append(error)
        else:
            right += 1
        if error := await fault(send, passing):
            broken.append(error)
    return {"right": right, "lost": lost, "broken": broken}


async def run(send):
    """Sends every request with `send`, which answers with status and body."""
    base, tries, *texts = sys.argv[1:]
    passing, *refused = [Request(base, text) for text in texts]
    print(json.dumps({request.name: await counts(send, int(tries), request, passing) for request in refused}))


def main(send):
    asyncio.run(run(send))
