// @microsoft/microsoft-graph-client: with a base URL and the host of the gateway in `customHosts`.
// Over http it sends no token, silently.
import { AsyncLocalStorage } from 'node:async_hooks';
import { BASE, TOKEN, load, object, relative, serve } from './common.mjs';

const { Client, MiddlewareFactory, PageIterator } = await load('@microsoft/microsoft-graph-client');

// A user gets the parsed body of an answer; its status and its headers are lost. So that the test sees
// them, a middleware behind those of the library notes them.
const notes = new AsyncLocalStorage();
class Note {
    async execute(context) {
        await this.next.execute(context);
        Object.assign(notes.getStore() ?? {}, { status: context.response.status, headers: context.response.headers });
    }
    setNext(next) {
        this.next = next;
    }
}
const middleware = MiddlewareFactory.getDefaultMiddlewareChain({ getAccessToken: async () => TOKEN });
middleware.splice(-1, 0, new Note());

const client = Client.initWithMiddleware({
    baseUrl: `${BASE}/`,
    defaultVersion: 'v1.0',
    // Names without a port.
    customHosts: new Set([new URL(BASE).hostname]),
    middleware,
});

// The path begins behind the version. An absolute URL works only with https; one with http is appended
// to the base URL.
function api(url) {
    if (relative(url) === url) return client.api(url);
    const [, version, path] = /^\/([^/]+)(\/.+)$/.exec(relative(url)) ?? [];
    if (!path) throw new Error('the library has no path without a version');
    return client.api(path).version(version);
}

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

async function send({ method, url, headers, body }) {
    if (!methods.includes(method)) throw new Error('the library has no such method');
    const note = {};
    try {
        const request = api(url).headers(object(headers));
        const data = await notes.run(note, () => request[method.toLowerCase()](body));
        return { ...note, body: data === undefined || typeof data === 'string' ? data : JSON.stringify(data) };
    } catch (error) {
        // It throws for 4xx and 5xx. `body` is the member `error` of the answer; the others are lost.
        if (!(error.statusCode > 0)) throw error;
        const body = error.body?.startsWith?.('{') ? `{"error":${error.body}}` : error.body;
        return { status: error.statusCode, headers: error.headers, body };
    }
}

async function walk(url) {
    let items = 0;
    const count = () => {
        items += 1;
        return true;
    };
    await new PageIterator(client, await api(url).get(), count).iterate();
    return items;
}

await serve(send, walk);
