// Node's fetch.

import { PATIENCE, run } from "./tries.mjs";

await run(async ({ method, url, headers, body }) => {
  const answer = await fetch(url, { method, headers, body, signal: AbortSignal.timeout(PATIENCE) });
  return [answer.status, await answer.text()];
});
