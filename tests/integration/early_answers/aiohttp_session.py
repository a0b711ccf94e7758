"""aiohttp, with a ClientSession."""

import asyncio

import aiohttp

import tries


async def main():
    timeout = aiohttp.ClientTimeout(total=tries.PATIENCE)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def send(request):
            call = session.request(request.method, request.url, data=request.body, headers=request.headers)
            async with call as answer:
                return answer.status, await answer.read()

        await tries.run(send)


asyncio.run(main())
