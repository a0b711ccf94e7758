"""httpx, with a Client."""

import httpx

import tries

client = httpx.Client(timeout=tries.PATIENCE)


def send(request):
    answer = client.request(request.method, request.url, content=request.body, headers=request.headers)
    return answer.status_code, answer.content


tries.main(send)
