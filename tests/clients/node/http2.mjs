// http2, built into Node: one session for each server, kept until the server closes it. In clear text it
// speaks HTTP/2 by prior knowledge.
import http2 from 'node:http2';
import { BEARER, LIMIT, object, serve } from './common.mjs';

const sessions = new Map();

function session(origin) {
    const kept = sessions.get(origin);
    if (kept && !kept.closed && !kept.destroyed) return kept;
    const made = http2.connect(origin);
    // Each stream reports the error of its session as well.
    made.on('error', () => {});
    sessions.set(origin, made);
    return made;
}

await serve(
    ({ method, url, headers, body }) =>
        new Promise((resolve, reject) => {
            const { origin } = new URL(url);
            const lower = headers.map(([name, value]) => [name.toLowerCase(), value]);
            // Not stream.setTimeout: it does not fire while a stream waits for its session.
            const signal = AbortSignal.timeout(LIMIT);
            const stream = session(origin).request(
                { ...BEARER, ...object(lower), ':method': method, ':path': url.slice(origin.length) || '/' },
                { endStream: body === undefined, signal },
            );
            let status, answered;
            const chunks = [];
            stream.on('response', (all) => {
                // The pseudo header is no header. Lists of values stay lists.
                ({ ':status': status, ...answered } = all);
            });
            stream.on('data', (chunk) => chunks.push(chunk));
            stream.on('error', reject);
            // When the connection is cut, there is no error, only a code.
            stream.on('close', () => {
                if (status && !stream.rstCode) resolve({ status, headers: answered, body: Buffer.concat(chunks) });
                else reject(new Error(`closed without a whole answer, code ${stream.rstCode}`));
            });
            if (body !== undefined) stream.end(body);
        }),
);
