// What the clients in Node share. Arguments and output are those of tries.py.

// How long a request may take, in milliseconds. It is reached only when a test fails.
export const PATIENCE = 20_000;

// An error of a socket behind the answer, which ends a process that does not listen for it. Here it counts.
let stray;
process.on("uncaughtException", (error) => {
  stray = error;
});

function read(base, text) {
  const [line, ...fields] = text.split("\n");
  const [method, path, size, status, code] = line.split(" ");
  const headers = Object.fromEntries(fields.map((field) => field.split(/: (.*)/s, 2)));
  const body = size === "0" ? undefined : Buffer.alloc(Number(size), "x");
  const name = `${status} ${code}, ${size} bytes`;
  return { name, method, url: base + path, headers, body, status: Number(status), code };
}

// Sends a request and says what is wrong with its answer, or that none came.
async function fault(send, request) {
  stray = undefined;
  try {
    const [status, text] = await send(request);
    if (stray !== undefined) {
      return `behind the answer: ${stray}`;
    }
    if (status !== request.status) {
      return `status ${status}`;
    }
    const code = JSON.parse(text).error?.innerError?.code ?? "-";
    return code === request.code ? undefined : `code ${code}`;
  } catch (error) {
    return `${error} ${error.cause ?? ""}`;
  }
}

async function counts(send, tries, refused, passing) {
  const counts = { right: 0, lost: [], broken: [] };
  for (let number = 0; number < tries; number++) {
    const lost = await fault(send, refused);
    if (lost === undefined) {
      counts.right++;
    } else {
      counts.lost.push(lost);
    }
    const broken = await fault(send, passing);
    if (broken !== undefined) {
      counts.broken.push(broken);
    }
  }
  return counts;
}

// Sends every request with `send`, which answers with status and body.
export async function run(send) {
  const [base, tries, ...texts] = process.argv.slice(2);
  const [passing, ...refused] = texts.map((text) => read(base, text));
  const all = {};
  for (const request of refused) {
    all[request.name] = await counts(send, Number(tries), request, passing);
  }
  console.log(JSON.stringify(all));
}
