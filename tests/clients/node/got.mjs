// got 13: one instance with a prefix. Without an agent of its own it uses Node's, which keeps
// connections from Node 19 on.
import { BASE, BEARER, LIMIT, load, object, relative, serve } from './common.mjs';

const { default: got } = await load('got');
const client = got.extend({ prefixUrl: BASE, headers: BEARER, responseType: 'buffer', timeout: { request: LIMIT } });

await serve(async ({ method, url, headers, body }) => {
    const path = relative(url);
    try {
        // With a prefix, a path must not begin with a slash, and an absolute URL is appended as well.
        const options = path === url ? { prefixUrl: '' } : {};
        Object.assign(options, { method, headers: object(headers), body });
        const response = await client(path.replace(/^\//, ''), options);
        return { status: response.statusCode, headers: response.headers, body: response.body };
    } catch (error) {
        // It throws for 4xx and 5xx, and the error has the answer.
        if (!error.response) throw error;
        return { status: error.response.statusCode, headers: error.response.headers, body: error.response.body };
    }
});
