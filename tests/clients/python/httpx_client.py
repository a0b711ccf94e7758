# httpx: one AsyncClient, HTTP/1.1 or HTTP/2 (needs h2). CA: SSL_CERT_FILE.
import asyncio
import os

import httpx

from protocol import BASE, BEARER, LIMIT, serve_async

options = {}
if os.environ.get("PROTOCOL") == "http2":
    # Over TLS, ALPN decides. In clear text, only a client without HTTP/1.1 speaks HTTP/2.
    options = {"http2": True, "http1": BASE.startswith("https:")}


async def main():
    async with httpx.AsyncClient(base_url=BASE, headers=BEARER, timeout=LIMIT, **options) as client:

        async def send(request):
            answer = await client.request(
                request.method, request.relative, headers=request.headers, content=request.body
            )
            return answer.status_code, answer.headers.multi_items(), answer.content

        await serve_async(send)


asyncio.run(main())
