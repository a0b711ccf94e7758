"""http.client, with a connection that is kept. The first argument says how it is given a body: `whole` or in `pieces`."""

import http.client
import sys
from urllib.parse import urlsplit

import tries

PIECE = 10_000

in_pieces = sys.argv.pop(1) == "pieces"
connection = http.client.HTTPConnection(urlsplit(sys.argv[1]).netloc, timeout=tries.PATIENCE)


def body(request):
    if request.body is None or not in_pieces:
        return request.body
    return (request.body[at : at + PIECE] for at in range(0, len(request.body), PIECE))


def send(request):
    try:
        connection.request(request.method, request.path, body(request), request.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except Exception:
        # As its documentation asks for after an error.
        connection.close()
        raise


tries.main(send)
