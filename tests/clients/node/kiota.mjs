// kiota: the request adapter of the clients that kiota generates, with a bearer token for allowed hosts.
import { AsyncLocalStorage } from 'node:async_hooks';
import { BASE, TOKEN, load, relative, serve } from './common.mjs';

const { AllowedHostsValidator, BaseBearerTokenAuthenticationProvider, RequestInformation } = await load(
    '@microsoft/kiota-abstractions',
);
const { FetchRequestAdapter, HeadersInspectionOptions, KiotaClientFactory } = await load(
    '@microsoft/kiota-http-fetchlibrary',
);
const { JsonParseNodeFactory } = await load('@microsoft/kiota-serialization-json');

// A user does not get the status of an answer that is no error. So that the test sees it, the function
// that the library calls instead of fetch notes it.
const notes = new AsyncLocalStorage();
async function notedFetch(url, options) {
    const response = await fetch(url, options);
    notes.getStore().status = response.status;
    return response;
}

// Names without a port.
const hosts = new AllowedHostsValidator(new Set([new URL(BASE).hostname]));
const tokens = {
    getAuthorizationToken: async (url) => (hosts.isUrlHostValid(url) ? TOKEN : ''),
    getAllowedHostsValidator: () => hosts,
};
const adapter = new FetchRequestAdapter(
    new BaseBearerTokenAuthenticationProvider(tokens),
    new JsonParseNodeFactory(),
    undefined,
    KiotaClientFactory.create(notedFetch),
);
adapter.baseUrl = BASE;

// Generated clients have a class for errors. This one has no fields of its own, so all members of the
// answer are additional data. Without such a mapping the body is lost. With it, the status and the headers
// of an error that is not JSON are lost.
const errors = { XXX: () => () => ({}) };

await serve(async ({ method, url, headers, body }) => {
    const request = new RequestInformation(method, '{+baseurl}{+path}', { path: relative(url) });
    if (relative(url) === url) request.URL = url;
    for (const [name, value] of headers) request.headers.add(name, value);
    request.content = body;
    const inspection = new HeadersInspectionOptions({ inspectResponseHeaders: true });
    request.addRequestOptions([inspection]);
    const note = {};
    try {
        const bytes = await notes.run(note, () => adapter.sendPrimitive(request, 'ArrayBuffer', errors));
        const answered = [...inspection.getResponseHeaders().entries()].map(([name, values]) => [name, [...values]]);
        return { ...note, headers: new Map(answered), body: bytes && Buffer.from(bytes) };
    } catch (error) {
        const { responseStatusCode: status, responseHeaders, additionalData } = error;
        if (!status) throw error;
        // It cuts the values of headers at each comma; joined, they are whole again.
        const answered = Object.entries(responseHeaders).map(([name, values]) => [name, values.join(',')]);
        return { status, headers: new Map(answered), body: JSON.stringify(additionalData) };
    }
});
