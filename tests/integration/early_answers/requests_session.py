"""requests, with a Session."""

import requests

import tries

session = requests.Session()


def send(request):
    answer = session.request(
        request.method, request.url, data=request.body, headers=request.headers, timeout=tries.PATIENCE
    )
    return answer.status_code, answer.content


tries.main(send)
