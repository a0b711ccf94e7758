# requests: one Session, used by all threads. CA: REQUESTS_CA_BUNDLE, then CURL_CA_BUNDLE.
import requests

from protocol import BEARER, LIMIT, serve

session = requests.Session()
session.headers.update(BEARER)


def send(request):
    # A Session has no base URL.
    answer = session.request(
        request.method, request.url, headers=request.unique_headers, data=request.body, timeout=LIMIT
    )
    # A header that comes twice is one here, with a comma between the values.
    return answer.status_code, answer.headers.items(), answer.content


serve(send)
