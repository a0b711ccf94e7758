// What the adapters for Node share: the protocol that tests/integration/clients.rs speaks with them.
//
// A line on stdin is a request: TIMES, METHOD, URL, HEADERS and BODY with a tab between. TIMES lines on
// stdout are the answers: STATUS, HEADERS and BODY, or ERROR and a text. CA: NODE_EXTRA_CA_CERTS, for all.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

export const { BASE, TOKEN } = process.env;
export const BEARER = { authorization: `Bearer ${TOKEN}` };
export const SCOPE = 'https://api.partner.microsoft.com/.default';
// Milliseconds that a request may take, where a library has such a limit.
export const LIMIT = 60_000;

// Imports a package from the folder that ./install has made, which is the argument of the adapter.
export async function load(name) {
    const folder = createRequire(`${process.argv[2]}/`);
    return import(pathToFileURL(folder.resolve(name)));
}

// The URL as a library with a base URL is given it: the path, unless it leads elsewhere.
export function relative(url) {
    return url.startsWith(`${BASE}/`) ? url.slice(BASE.length) : url;
}

// Headers as an object, for libraries that take one. One that is sent twice has an array.
export function object(headers) {
    const all = {};
    for (const [name, value] of headers) {
        all[name] = name in all ? [all[name], value].flat() : value;
    }
    return all;
}

function read(line) {
    const [times, method, url, headers, body] = line.split('\t');
    const pairs = Buffer.from(headers, 'base64').toString().split('\n').filter(Boolean);
    return {
        times: Number(times),
        method,
        url,
        headers: pairs.map((pair) => [pair.slice(0, pair.indexOf(': ')), pair.slice(pair.indexOf(': ') + 2)]),
        body: body === '-' ? undefined : Buffer.from(body, 'base64'),
    };
}

function encoded(data) {
    return Buffer.from(data).toString('base64');
}

function answer({ status, headers = {}, body }) {
    const pairs = typeof headers.entries === 'function' ? [...headers.entries()] : Object.entries(headers);
    const lines = pairs.flatMap(([name, values]) =>
        [values].flat().map((value) => `${name.toLowerCase()}: ${value}\n`),
    );
    return [status, encoded(lines.join('')), body?.length ? encoded(body) : '-'];
}

// The texts of an error and of its causes: `fetch failed` alone says nothing.
function text(error) {
    const own = error?.message || error?.code || String(error);
    const cause = error?.cause ? text(error.cause) : '';
    return own.includes(cause) ? own : `${own}: ${cause}`;
}

// Calls `send({ method, url, headers, body })`, many at once if the request says so, and prints what
// they return, `{ status, headers, body }`, or throw. `walk(url)` returns the number of items.
export async function serve(send, walk) {
    for await (const line of createInterface({ input: process.stdin })) {
        const { times, ...request } = read(line);
        const one = async () => {
            try {
                if (request.method !== 'WALK') return answer(await send(request));
                if (!walk) return ['ERROR', encoded('no pager')];
                return [200, encoded(`items: ${await walk(request.url)}\n`), '-'];
            } catch (error) {
                return ['ERROR', encoded(`${error?.constructor?.name} ${text(error)}`)];
            }
        };
        const print = (fields) => process.stdout.write(`${fields.join('\t')}\n`);
        await Promise.all(Array.from({ length: times }, () => one().then(print)));
    }
    // Kept connections would hold the process.
    process.exit(0);
}
