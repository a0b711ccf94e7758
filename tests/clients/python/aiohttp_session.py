# aiohttp: one ClientSession with a base URL. CA: SSL_CERT_FILE, which OpenSSL reads.
import asyncio

import aiohttp

from protocol import BASE, BEARER, LIMIT, serve_async


async def main():
    limit = aiohttp.ClientTimeout(total=LIMIT)
    async with aiohttp.ClientSession(BASE, headers=BEARER, timeout=limit) as session:

        async def send(request):
            # With a base URL, this version (3.8) takes no absolute URL: AssertionError.
            async with session.request(
                request.method, request.relative, headers=request.headers, data=request.body
            ) as answer:
                return answer.status, answer.headers.items(), await answer.read()

        await serve_async(send)


asyncio.run(main())
