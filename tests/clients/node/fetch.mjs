// fetch, built into Node: one pool for the process.
import { BEARER, LIMIT, serve } from './common.mjs';

await serve(async ({ method, url, headers, body }) => {
    const response = await fetch(url, {
        method,
        headers: [...Object.entries(BEARER), ...headers],
        body,
        signal: AbortSignal.timeout(LIMIT),
    });
    return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
});
