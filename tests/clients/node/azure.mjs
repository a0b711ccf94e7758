// @azure-rest/core-client: a client with a TokenCredential, as those for Azure are built.
// Over http it throws by design: its bearer policy sends a token over https only.
import { BASE, SCOPE, TOKEN, load, object, relative, serve } from './common.mjs';

const { getClient } = await load('@azure-rest/core-client');
const credential = { getToken: async () => ({ token: TOKEN, expiresOnTimestamp: Date.now() + 3_600_000 }) };
const client = getClient(BASE, credential, { credentials: { scopes: [SCOPE] } });

await serve(async ({ method, url, headers, body }) => {
    // It looks for `content-type` and `accept` in lower case only. With another case it sends
    // application/octet-stream for bytes, and its own Accept.
    const lower = headers.map(([name, value]) => [name.toLowerCase(), value]);
    const send = client.pathUnchecked(relative(url))[method.toLowerCase()];
    const response = await send({ headers: object(lower), body });
    // It does not throw for 4xx and 5xx. The body is parsed: the bytes are lost, the JSON is not.
    const { body: data } = response;
    return {
        status: response.status,
        headers: response.headers,
        body: data === undefined || typeof data === 'string' ? data : JSON.stringify(data),
    };
});
