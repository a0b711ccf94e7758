// http and https, built into Node, with an agent that keeps connections.
import http from 'node:http';
import https from 'node:https';
import { BEARER, LIMIT, object, serve } from './common.mjs';

const keepAlive = true;
const agents = { 'http:': new http.Agent({ keepAlive }), 'https:': new https.Agent({ keepAlive }) };

await serve(
    ({ method, url, headers, body }) =>
        new Promise((resolve, reject) => {
            const { protocol } = new URL(url);
            const request = (protocol === 'https:' ? https : http).request(url, {
                method,
                headers: { ...BEARER, ...object(headers) },
                agent: agents[protocol],
                timeout: LIMIT,
            });
            request.on('response', async (response) => {
                try {
                    const chunks = await response.toArray();
                    resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) });
                } catch (error) {
                    reject(error);
                }
            });
            request.on('timeout', () => request.destroy(new Error('timeout')));
            request.on('error', reject);
            request.end(body);
        }),
);
