# urllib3: one PoolManager, used by all threads. CA: an option; Debian's package has the system's bundle
# as the default and does not read SSL_CERT_FILE.
import os

import urllib3

from protocol import BEARER, LIMIT, serve

options = {"ca_certs": os.environ["CA_FILE"]} if "CA_FILE" in os.environ else {}
pool = urllib3.PoolManager(**options)


def send(request):
    # Headers of a request replace those of the pool, so the token is set here.
    headers = {**BEARER, **request.unique_headers}
    answer = pool.request(request.method, request.url, headers=headers, body=request.body, timeout=LIMIT)
    return answer.status, answer.headers.items(), answer.data


serve(send)
