// The live side of the status page: asks for the page again and takes its sections over, draws the plots, follows the
// decisions, and asks for explanations. Texts of the gateway go into the page as text, or as the gateway escaped them.
"use strict";

(() => {
  const STATUS_EVERY = 2000;
  const HISTORY_EVERY = 5000;
  const KEPT = 256;
  const SECTIONS = ["verdict", "facts", "traffic", "service", "rules", "tenants"];
  const byId = (id) => document.getElementById(id);

  let token = sessionStorage.getItem("token") || "";
  let heardAt = Date.now();

  const ask = (path, options = {}) => {
    const headers = { ...options.headers };
    if (token) headers.authorization = `Bearer ${token}`;
    return fetch(path, { cache: "no-store", ...options, headers });
  };

  // ---- Times: local, with UTC on hover.

  const asLocal = (time) => {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) return;
    const isToday = at.toDateString() === new Date().toDateString();
    time.textContent = isToday ? at.toLocaleTimeString() : at.toLocaleString();
    time.title = `${time.dateTime} (UTC)`;
  };
  const allLocal = (root) => root.querySelectorAll("time").forEach(asLocal);

  // ---- Sections.

  // What somebody is marking or reading by keyboard must not be pulled away.
  const isInUse = (section) => {
    const selection = document.getSelection();
    const isMarked = selection && !selection.isCollapsed && selection.containsNode(section, true);
    return isMarked || section.contains(document.activeElement);
  };

  const written = new Map();
  const takeOver = (page) => {
    for (const id of SECTIONS) {
      const [section, fresh] = [byId(id), page.getElementById(id)];
      if (!section || !fresh || isInUse(section)) continue;
      if (written.get(id) === fresh.innerHTML) continue;
      written.set(id, fresh.innerHTML);
      section.replaceChildren(...fresh.childNodes);
      allLocal(section);
    }
    document.title = page.title;
  };

  const heard = (isFresh, why) => {
    if (isFresh) heardAt = Date.now();
    const silent = Math.round((Date.now() - heardAt) / 1000);
    document.body.classList.toggle("stale", !isFresh);
    const said = isFresh ? "" : `Last heard ${silent} s ago: ${why}`;
    if (byId("heard") && byId("heard").textContent !== said) byId("heard").textContent = said;
  };

  const lock = (said) => {
    token = "";
    sessionStorage.removeItem("token");
    byId("token").hidden = false;
    byId("token-said").textContent = said;
  };

  const refresh = async () => {
    try {
      const answer = await ask("./");
      if (answer.status === 401) return lock("This is not the token.");
      if (!answer.ok) return heard(false, `the gateway answers ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (page.body.hasAttribute("data-locked")) return lock("");
      takeOver(page);
      heard(true);
      const isDraining = page.querySelector("#facts dd")?.textContent === "draining";
      document.querySelectorAll("#explain button, #explain input, #explain textarea").forEach((control) => {
        control.disabled = isDraining;
      });
    } catch (error) {
      heard(false, "no connection to the gateway");
    }
  };

  // ---- Plots.

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = [];

  const plot = (id, unit, lines) => {
    const figure = byId(id);
    const place = figure.querySelector(".plot");
    let drawn = null;
    let data = null;
    const width = () => Math.max(place.clientWidth, 200);
    const draw = () => {
      if (!data || !data[0].length) return;
      figure.hidden = false;
      drawn?.destroy();
      const axis = { stroke: style("--soft"), grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line") } };
      drawn = new uPlot(
        {
          width: width(),
          height: 170,
          series: [
            { label: "time", value: (_, at) => new Date((at ?? data[0].at(-1)) * 1000).toLocaleTimeString() },
            ...lines.map((line, number) => ({
              label: line.label,
              stroke: style(`--series-${number + 1}`),
              width: 2,
              dash: line.dash,
              points: { size: 5 },
              spanGaps: false,
              // Where the pointer is, else the latest.
              value: (_, value, series, at) => {
                const shown = at == null ? data[series].at(-1) : value;
                return shown == null ? "none" : `${shown} ${unit}`;
              },
            })),
          ],
          axes: [axis, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => `${tick} ${unit}`) }],
          scales: {
            // A gateway that has just started has less than 15 minutes to show.
            x: { range: () => [Math.min(data[0][0], data[0].at(-1) - 60), data[0].at(-1)] },
            y: { range: (_, low, high) => [0, Math.max(high || 0, unit === "ms" ? 1 : 0.1) * 1.1] },
          },
        },
        data,
        place,
      );
      const latest = lines.map((line, number) => {
        const values = data[number + 1].filter((value) => value != null);
        return `${line.label} ${values.length ? `${values[values.length - 1]} ${unit}` : "none"}`;
      });
      const canvas = place.querySelector("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${figure.querySelector("figcaption").textContent}. Latest: ${latest.join(", ")}`);
    };
    plots.push({ draw, resize: () => drawn?.setSize({ width: width(), height: 170 }) });
    return (history) => {
      data = [history.at, ...lines.map((line) => line.of(history))];
      draw();
    };
  };

  const startPlots = () => {
    const rate = (source) => (history) => history.answers_per_second[source];
    const drawRates = plot("rates", "/s", [
      { label: "service", of: rate("upstream") },
      { label: "policy", of: rate("policy"), dash: [8, 4] },
      { label: "limits", of: rate("ratelimit"), dash: [2, 3] },
      { label: "cooldowns", of: rate("cooldown"), dash: [10, 3, 2, 3] },
      { label: "gateway", of: rate("gateway"), dash: [4, 4] },
    ]);
    const drawTimes = plot("times", "ms", [
      { label: "half", of: (history) => history.p50_ms },
      { label: "99 %", of: (history) => history.p99_ms, dash: [8, 4] },
      { label: "own 99 %", of: (history) => history.own_p99_ms, dash: [2, 3] },
    ]);
    const drawService = plot("service-times", "ms", [{ label: "99 %", of: (history) => history.upstream_p99_ms }]);
    const update = async () => {
      try {
        const answer = await ask("history");
        if (!answer.ok) return;
        const history = await answer.json();
        drawRates(history);
        drawTimes(history);
        drawService(history);
      } catch (error) {
        // The sections say that nothing is heard.
      }
    };
    addEventListener("resize", () => plots.forEach((each) => each.resize()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((each) => each.draw()));
    return update;
  };

  // ---- Decisions.

  const records = [];
  let isPaused = false;
  let missed = 0;

  const cells = (record) => [
    record.timestamp,
    record.verdict,
    `${record.method} ${record.referral}`,
    record.from || record.to ? `${record.from} \u2192 ${record.to}` : "",
    record.findings,
    record.tenant,
    record.request_id,
  ].map((text) => visible(String(text ?? "")));

  // Marks of direction would show another order than there is.
  const visible = (text) => text.slice(0, 300).replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu, (mark) => `\\u{${mark.codePointAt(0).toString(16)}}`);

  const filterText = () => byId("filter").value.trim().toLowerCase();
  const wanted = () => {
    const filter = filterText();
    return records.filter((record) => !filter || cells(record).join(" ").toLowerCase().includes(filter));
  };

  const showDecisions = () => {
    const body = document.querySelector("#decisions tbody");
    const rows = wanted().map((record) => {
      const row = document.createElement("tr");
      cells(record).forEach((text, number) => {
        const cell = document.createElement("td");
        if (number === 0) {
          const time = document.createElement("time");
          time.dateTime = text;
          time.textContent = text;
          asLocal(time);
          cell.append(time);
        } else {
          cell.textContent = text;
        }
        if (number === 2 || number > 4) cell.className = "mono";
        row.append(cell);
      });
      return row;
    });
    if (!rows.length) {
      const row = document.createElement("tr");
      const cell = document.createElement("td");
      cell.colSpan = 7;
      cell.textContent = records.length ? "No line has this." : "No write was judged since the start.";
      row.append(cell);
      rows.push(row);
    }
    body.replaceChildren(...rows);
  };

  let isDue = false;
  const showSoon = () => {
    if (isDue || isPaused) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      showDecisions();
    });
  };

  const say = (text) => {
    byId("live-said").textContent = text;
  };

  const add = (record) => {
    records.unshift(record);
    if (records.length > KEPT) records.pop();
    if (isPaused) {
      missed += 1;
      say(`Paused. ${missed} new.`);
    }
    showSoon();
  };

  const follow = async () => {
    for (;;) {
      try {
        const answer = await ask("decisions?follow");
        if (!answer.ok) throw new Error(`the gateway answers ${answer.status}`);
        records.length = 0;
        showSoon();
        if (!isPaused) say("");
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          const blocks = (rest + value).split("\n\n");
          rest = blocks.pop();
          for (const block of blocks) {
            const lines = block.split("\n");
            const data = lines.find((line) => line.startsWith("data: "));
            if (lines.includes("event: decision") && data) add(JSON.parse(data.slice(6)));
          }
        }
        throw new Error("the stream has ended");
      } catch (error) {
        say(`Not live: ${error instanceof TypeError ? "no connection" : error.message}. Trying again.`);
        await new Promise((resolve) => setTimeout(resolve, 5000));
      }
    }
  };

  const startDecisions = () => {
    byId("live").hidden = false;
    const filter = byId("filter");
    const fromLink = () => {
      filter.value = new URLSearchParams(location.hash.slice(1)).get("filter") || "";
      showDecisions();
    };
    filter.addEventListener("input", () => {
      const hash = filter.value ? `#${new URLSearchParams({ filter: filter.value })}` : "#";
      history.replaceState(null, "", hash);
      showDecisions();
    });
    addEventListener("hashchange", fromLink);
    byId("pause").addEventListener("click", () => {
      isPaused = !isPaused;
      missed = 0;
      byId("pause").setAttribute("aria-pressed", String(isPaused));
      byId("pause").textContent = isPaused ? "Go on" : "Pause";
      say(isPaused ? "Paused." : "");
      showSoon();
    });
    byId("copy").addEventListener("click", async () => {
      const text = wanted().map((record) => cells(record).join("\t")).join("\n");
      try {
        await navigator.clipboard.writeText(text);
        say(`Copied ${wanted().length} lines.`);
      } catch (error) {
        document.getSelection().selectAllChildren(byId("decisions"));
        say("The lines are marked: copy them with the keyboard.");
      }
    });
    fromLink();
    follow();
  };

  // ---- Explain.

  const startExplain = () => {
    byId("explain-without").hidden = true;
    byId("explain").hidden = false;
    byId("explain").addEventListener("submit", async (event) => {
      event.preventDefault();
      const said = byId("explain-said");
      const asked = { request: byId("explain-request").value };
      for (const name of ["status", "substatus", "etag", "tenant"]) {
        const value = byId(`explain-${name}`).value.trim();
        if (value) asked[name] = value;
      }
      said.hidden = false;
      try {
        const answer = await ask("explain", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(asked),
        });
        const text = await answer.text();
        said.textContent = answer.ok ? JSON.parse(text).report : text;
      } catch (error) {
        said.textContent = "No connection to the gateway.";
      }
    });
  };

  // ---- Start.

  let timers = [];
  const start = () => {
    allLocal(document);
    const update = startPlots();
    startDecisions();
    startExplain();
    update();
    const every = (pause, work) => {
      // A page that nobody sees asks for nothing.
      timers.push(setInterval(() => document.hidden || work(), pause));
    };
    every(STATUS_EVERY, refresh);
    every(HISTORY_EVERY, update);
    document.addEventListener("visibilitychange", () => document.hidden || (refresh(), update()));
  };

  const unlock = async () => {
    const answer = await ask("./").catch(() => null);
    if (!answer) return lock("No connection to the gateway.");
    if (answer.status === 401) return lock("This is not the token.");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (page.body.hasAttribute("data-locked")) return lock("");
    sessionStorage.setItem("token", token);
    byId("token").hidden = true;
    document.title = page.title;
    document.body.removeAttribute("data-locked");
    if (byId("verdict")) return;
    byId("locked").remove();
    document.body.append(...[...page.body.children].filter((child) => child.tagName !== "HEADER"));
    start();
  };

  byId("token").addEventListener("submit", (event) => {
    event.preventDefault();
    token = byId("token-text").value.trim();
    byId("token-text").value = "";
    unlock();
  });

  if (document.body.hasAttribute("data-locked")) {
    if (token) unlock();
  } else {
    start();
  }
})();
