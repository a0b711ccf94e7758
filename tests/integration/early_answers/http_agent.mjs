// Node's http, with an agent that keeps its connection.

import http from "node:http";
import { text } from "node:stream/consumers";

import { PATIENCE, run } from "./tries.mjs";

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function send({ method, url, headers, body }) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent, signal: AbortSignal.timeout(PATIENCE) });
    request.on("error", reject);
    request.on("response", (answer) => {
      text(answer).then((text) => resolve([answer.statusCode, text]), reject);
    });
    request.end(body);
  });
}

await run(send);
agent.destroy();
