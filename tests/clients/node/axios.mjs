// axios: one instance with a base URL and agents that keep connections.
import http from 'node:http';
import https from 'node:https';
import { BASE, BEARER, LIMIT, load, object, relative, serve } from './common.mjs';

const { default: axios } = await load('axios');
const client = axios.create({
    baseURL: BASE,
    headers: BEARER,
    httpAgent: new http.Agent({ keepAlive: true }),
    httpsAgent: new https.Agent({ keepAlive: true }),
    responseType: 'arraybuffer',
    timeout: LIMIT,
});

await serve(async ({ method, url, headers, body }) => {
    try {
        const response = await client.request({ method, url: relative(url), headers: object(headers), data: body });
        return { status: response.status, headers: response.headers, body: response.data };
    } catch (error) {
        // It throws for 4xx and 5xx, and the error has the answer.
        if (!error.response) throw error;
        return { status: error.response.status, headers: error.response.headers, body: error.response.data };
    }
});
