// Drives a real browser over the status page and tells what it saw, as one line of JSON.
// Arguments: folder of the packages, folder for screenshots, and a JSON object with the addresses.
import { createRequire } from "node:module";
import { readFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [packages, pictures, given] = process.argv.slice(2);
const { admin, data, locked, token, item, hostile } = JSON.parse(given);
const require = createRequire(join(packages, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const seen = { errors: [], requests: [], steps: [] };
const done = (step) => seen.steps.push(step);
const must = (truth, what) => {
  if (!truth) throw new Error(what);
};
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
// Lets the test do what only it can, and waits until it has.
const bid = async (order) => {
  console.log(order);
  await answers.next();
};

const profile = mkdtempSync(join(tmpdir(), "browser-"));
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: flags });

const open = async (options, url) => {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && seen.errors.push(message.text()));
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("dialog", (dialog) => {
    seen.errors.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => seen.requests.push(new URL(request.url()).host));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective}`));
  });
  await page.goto(url);
  return page;
};

const write = async (id, extra = {}) => {
  const answer = await fetch(`${data}${item}`, {
    method: "PUT",
    headers: { "content-type": "application/json", "client-request-id": id, ...extra },
    body: '{"status":"Closed","substatus":"Won"}',
  });
  await answer.text();
  return answer.status;
};

const row = (page, text) => page.locator("#decisions tbody tr", { hasText: text });

const accessible = async (page, what) => {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const told = found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.target).join("; ")}`);
  must(!told.length, `${what}: ${told.join(" | ")}`);
};

try {
  // It loads, and lives.
  const page = await open({ viewport: { width: 1280, height: 900 }, colorScheme: "light" }, admin);
  await page.locator("#verdict strong").waitFor();
  await page.locator("#rates canvas").waitFor();
  must((await page.title()).endsWith("referral-gateway"), "title");
  done("loads");
  must((await write("live-1")) === 428, "a write without If-Match is refused");
  await row(page, "live-1").waitFor();
  await page.locator("#verdict", { hasText: "The policy refused" }).waitFor();
  done("live");

  // The filter, and a link that shares it.
  await write("other-2");
  await row(page, "other-2").waitFor();
  await page.locator("#filter").fill("LIVE-1");
  await row(page, "other-2").waitFor({ state: "detached" });
  must((await row(page, "live-1").count()) === 1, "the line that has it");
  const link = page.url();
  must(link.endsWith("#filter=LIVE-1"), link);
  const shared = await open({ viewport: { width: 1280, height: 900 } }, link);
  await row(shared, "live-1").waitFor();
  must((await row(shared, "other-2").count()) === 0, "the link filters");
  must((await shared.locator("#filter").inputValue()) === "LIVE-1", "the link fills the filter in");
  await shared.context().close();
  await page.locator("#filter").fill("nothing has this");
  await page.getByText("No line has this.").waitFor();
  await page.locator("#filter").fill("");
  await row(page, "other-2").waitFor();
  done("filter");

  await page.locator("#pause").click();
  await write("paused-3");
  await page.getByText("Paused. 1 new.").waitFor();
  must((await row(page, "paused-3").count()) === 0, "paused");
  await page.locator("#pause").click();
  await row(page, "paused-3").waitFor();
  done("pause");

  await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(admin).origin });
  await page.locator("#filter").fill("live-1");
  await page.locator("#copy").click();
  await page.getByText("Copied 1 lines.").waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  must(copied.includes("\tif-match:enforce:if_match_missing\t") && copied.endsWith("\tlive-1"), copied);
  await page.locator("#filter").fill("");
  done("copy");

  // Times are local, with UTC at hand.
  const time = page.locator("#decisions time").first();
  must((await time.getAttribute("title")).endsWith("Z (UTC)"), "UTC on hover");
  done("times");

  // Explain.
  const asked = `PUT ${item} HTTP/1.1\nHost: x\nContent-Type: application/json\n\n{"status":"Closed","substatus":"Won"}`;
  await page.locator("#explain-request").fill(asked);
  await page.locator("#explain button").click();
  await page.locator("#explain-said", { hasText: "refused: 428 if_match_missing" }).waitFor();
  await page.locator("#explain-request").fill("<script>window.hacked = 1</script>");
  await page.locator("#explain button").click();
  await page.locator("#explain-said", { hasText: "line 1:" }).waitFor();
  // The browser tells each answer that is no success.
  seen.errors.push(...seen.errors.splice(0).filter((error) => !error.includes("400")));
  done("explain");

  // Both colours, both widths.
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 400]) {
      const each = await open({ viewport: { width, height: 900 }, colorScheme }, admin);
      await each.locator("#rates canvas").waitFor();
      await row(each, "live-1").first().waitFor();
      const overflow = await each.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      must(overflow <= 0, `${colorScheme} ${width}: ${overflow} pixels too wide`);
      await accessible(each, `${colorScheme} ${width}`);
      await each.screenshot({ path: join(pictures, `status-${width}-${colorScheme}.png`), fullPage: true });
      await each.context().close();
    }
  }
  done("accessible");

  // Without scripts the essentials are there.
  const plain = await open({ javaScriptEnabled: false }, admin);
  must((await plain.locator("#verdict strong").textContent()).length > 0, "verdict");
  must((await row(plain, "live-1").count()) === 1, "decisions");
  must(await plain.getByText("referral-gateway explain --live FILE").isVisible(), "how to explain");
  must(!(await plain.locator("#filter").isVisible()), "no filter that does nothing");
  await plain.context().close();
  done("without scripts");

  // Hostile texts are shown, and nothing runs.
  await write("<img src=x onerror=window.hacked=1>", { "user-agent": hostile });
  await fetch(`${data}/v1.0/engagements/referrals/${encodeURIComponent(hostile)}`, { method: "PUT", body: hostile });
  await bid("SPOIL");
  await page.locator("#facts", { hasText: hostile }).waitFor();
  must(await page.evaluate(() => window.hacked === undefined), "something ran");
  must((await page.locator("main script, main img, main iframe").count()) === 0, "no element of a text");
  done("hostile");

  // A page with a token shows nothing before it has it.
  const closed = await open({ viewport: { width: 1280, height: 900 } }, locked);
  must((await closed.locator("#verdict, table").count()) === 0, "no data without the token");
  await closed.locator("#token-text").fill("not the token at all");
  await closed.locator("#token button").click();
  await closed.getByText("This is not the token.").waitFor();
  await accessible(closed, "locked");
  seen.errors.push(...seen.errors.splice(0).filter((error) => !error.includes("401")));
  await closed.locator("#token-text").fill(token);
  await closed.locator("#token button").click();
  await closed.locator("#verdict strong").waitFor();
  await closed.locator("#live").waitFor();
  await closed.locator("#rates canvas").waitFor();
  await closed.reload();
  await closed.locator("#verdict strong").waitFor();
  must(!(await closed.content()).includes(token), "the token is not in the page");
  await closed.context().close();
  done("token");

  // When the gateway is gone, old values are shown as old.
  const before = seen.errors.length;
  await bid("STOP");
  await page.locator("#heard", { hasText: /Last heard \d+ s ago: no connection to the gateway/ }).waitFor();
  must(await page.locator("body.stale").count(), "dimmed");
  await page.getByText("Not live: ").waitFor();
  // The browser itself tells each request that failed.
  seen.errors.length = before;
  done("gone");
} catch (error) {
  seen.failed = String(error);
} finally {
  await browser.close().catch(() => {});
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(seen));
