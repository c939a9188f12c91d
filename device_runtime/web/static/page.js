// Shows the application: video from /stream.mjpg, figures from /status.json. All texts are set as text, never as HTML.
"use strict";

const POLL_MS = 1000;
const PATIENCE_MS = 4000;
const RETRY_MS = 2000;
const ROWS = 12;
const THROTTLED = { 0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit" };
const STAGES = [
  ["prepare", "prepare"], ["invoke", "model"], ["decode", "decode"], ["waiting", "waiting"], ["total", "age, in all"],
];

const byId = (id) => document.getElementById(id);
const say = (id, text) => { const element = byId(id); if (element.textContent !== text) { element.textContent = text; } };
const fixed = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const whole = (value) => Math.round(value).toLocaleString("en");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const state = { status: null, reached: false, failing: false, video: "connecting", words: "", pictures: 0 };

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) { made.className = kind; }
  return made;
}

// ---------------------------------------------------------------------------------------------------------- figures

async function follow() {
  for (;;) {
    if (document.hidden) { await visible(); }
    await ask();
    await pause(POLL_MS);
  }
}

async function ask() {
  try {
    const answer = await fetch("/status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 401) { location.assign("/login"); return; }
    if (!answer.ok) { throw new Error(await reasonOf(answer)); }
    state.status = await answer.json();
    state.reached = true;
    state.failing = false;
  } catch {
    state.failing = true;
  }
  showState();
  if (!state.failing) { showFigures(state.status); }
}

function visible() {
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

async function reasonOf(answer) {
  try { return (await answer.json()).error || `the board answered ${answer.status}`; }
  catch { return `the board answered ${answer.status}`; }
}

function showState() {
  const status = state.status;
  let health = "connecting", notice = "", kind = "bad", cover = "";
  if (state.failing) {
    health = state.reached ? "stopped" : "connecting";
    notice = state.reached ? "The application has stopped, or the board cannot be reached. This page goes on trying." : "";
    cover = state.reached ? "no connection" : "connecting …";
  } else if (status) {
    health = status.health;
    notice = status.health === "failing" ? `${status.reasons.join("\n")}` : "";
    if (status.camera === "lost") { cover = "The camera is lost, and is being opened again."; }
    else if (status.camera === "ended") { cover = "The source has come to its end."; }
    else if (state.video === "refused") { cover = state.words; notice ||= `No live video: ${state.words}`; kind = status.health === "failing" ? kind : "waiting"; }
    else if (state.video !== "live") { cover = status.health === "starting" ? "waiting for the first picture …" : "connecting …"; }
  }
  say("health-word", health);
  byId("health").dataset.state = health;
  const box = byId("notice");
  box.hidden = !notice;
  box.dataset.state = kind === "waiting" ? "waiting" : "bad";
  say("notice", notice);
  say("cover-text", cover);
  byId("cover").hidden = !cover;
  byId("live").hidden = Boolean(cover);
  byId("screen").dataset.state = cover ? "old" : "live";
}

function showFigures(status) {
  const title = status.release || status.model;
  say("name", title);
  document.title = `${title} · edgekit`;
  say("subtitle", `${status.release ? `${status.model} · ` : ""}${status.engine} · ${status.source}`);
  showTiles(status);
  drawChart(byId("chart"), status.history);
  showLegend(status);
  showSeen(status.last);
  showEvents(status.events);
  showSinks(Object.entries(status.sinks));
  showFacts(status);
  say("viewers", status.viewers === 1 ? "1 viewer" : `${status.viewers} viewers`);
}

function showTiles(status) {
  const { predicted = 0, dropped = 0, damaged = 0 } = status.frames;
  const age = status.age_ms, invoke = status.stages_ms.invoke, all = predicted + dropped + damaged;
  say("fps", status.fps.toFixed(1));
  say("predicted", `${whole(predicted)} in all`);
  say("age", age ? fixed(age.p50) : "–");
  say("age-p95", age ? `p95 ${fixed(age.p95)} ms` : "");
  say("invoke", invoke ? fixed(invoke.p50) : "–");
  say("invoke-p95", invoke ? `p95 ${fixed(invoke.p95)} ms` : "");
  say("dropped", whole(dropped));
  say("dropped-share", all ? `${((100 * dropped) / all).toFixed(1)} %${damaged ? `, ${whole(damaged)} damaged` : " of all frames"}` : "");
  const warm = status.temperature_c;
  say("temperature", warm === undefined ? "–" : warm.toFixed(0));
  say("temperature-unit", warm === undefined ? "" : "°C");
  const now = throttledWords(status.throttled), since = throttledWords((status.throttled || 0) >> 16);
  say("throttled", now.join(", ") || (since.length ? `since boot: ${since.join(", ")}` : warm === undefined ? "not told by this machine" : "not throttled"));
  byId("throttled").classList.toggle("alarm", now.length > 0);
  say("memory", status.rss_bytes ? whole(status.rss_bytes / 1e6) : "–");
  say("cpu", status.cpu_percent === undefined ? "" : `${status.cpu_percent.toFixed(0)} % of one core`);
}

function throttledWords(bits) {
  return Object.entries(THROTTLED).filter(([bit]) => (bits || 0) & (1 << bit)).map(([, word]) => word);
}

function showLegend(status) {
  const means = Object.fromEntries(Object.entries(status.stages_ms).map(([name, stage]) => [name, stage.mean]));
  if (means.total !== undefined) {
    means.waiting = Math.max(0, means.total - (means.prepare || 0) - (means.invoke || 0) - (means.decode || 0));
  }
  const entries = STAGES.filter(([name]) => means[name] !== undefined).map(([name, word]) => {
    const entry = element("li", "");
    const key = element("span", "", `key ${name}${name === "total" ? " line" : ""}`);
    entry.append(key, element("span", word), element("b", `${fixed(means[name])} ms`));
    return entry;
  });
  if (means.capture !== undefined) {
    const entry = element("li", "");
    entry.append(element("span", "", "key none"), element("span", "capture, before that"), element("b", `${fixed(means.capture)} ms`));
    entries.push(entry);
  }
  byId("legend").replaceChildren(...entries);
}

function showSeen(last) {
  const items = last ? last.items : [];
  byId("seen").hidden = !items.length;
  byId("seen-none").hidden = items.length > 0;
  say("seen-none", last ? "Nothing in the last frame." : "Nothing yet.");
  const first = items[0] || {};
  say("seen-figure", first.area !== undefined ? "area" : first.value !== undefined ? "value" : "score");
  say("seen-where", first.box || first.points ? "where, px" : "");
  const rows = items.slice(0, ROWS).map((item) => {
    const row = element("tr", "");
    row.append(element("td", item.track ? `${item.label} #${item.track}` : item.label), element("td", figureOf(item)), element("td", placeOf(item), "place"));
    return row;
  });
  if (items.length > ROWS) {
    const row = element("tr", "");
    const rest = element("td", `and ${items.length - ROWS} more`, "place");
    rest.colSpan = 3;
    row.append(rest);
    rows.push(row);
  }
  byId("seen").tBodies[0].replaceChildren(...rows);
}

function figureOf(item) {
  if (item.area !== undefined) { return `${(100 * item.area).toFixed(1)} %`; }
  if (item.value !== undefined) { return item.value.toPrecision(4); }
  return item.score === undefined ? "" : item.score.toFixed(2);
}

function placeOf(item) {
  if (item.box) { const [x1, y1, x2, y2] = item.box; return `${whole(x2 - x1)} × ${whole(y2 - y1)} at ${whole(x1)}, ${whole(y1)}`; }
  return item.points ? `${item.points.length} points` : "";
}

function showEvents(events) {
  byId("events-none").hidden = events.length > 0;
  const rows = [...events].reverse().slice(0, ROWS).map((event) => {
    const row = element("li", "");
    const time = element("time", new Date(event.at).toLocaleTimeString("en-GB"));
    time.dateTime = event.at;
    const where = event.region ? ` in ${event.region}` : "";
    const phase = event.phase === "begin" ? "began" : `ended, ${event.dwell_s.toFixed(1)} s`;
    row.append(time, element("span", `${event.rule}: ${event.item.label}${where}`), element("span", phase, "phase"));
    return row;
  });
  byId("events").replaceChildren(...rows);
}

function showSinks(sinks) {
  byId("sinks").hidden = !sinks.length;
  byId("sinks-none").hidden = sinks.length > 0;
  const rows = [];
  for (const [name, sink] of sinks) {
    const row = element("tr", "");
    const head = element("th", name);
    head.scope = "row";
    row.append(head, ...[sink.taken, sink.dropped, sink.failed].map((count) => element("td", whole(count))));
    rows.push(row);
    if (sink.error) {
      const reason = element("tr", "");
      const cell = element("td", sink.error, "error");
      cell.colSpan = 4;
      reason.append(cell);
      rows.push(reason);
    }
  }
  byId("sinks").tBodies[0].replaceChildren(...rows);
}

function showFacts(status) {
  const facts = [
    ["release", status.release || "none: run by hand"], ["model", status.model], ["engine", status.engine],
    ["workers", String(status.workers)], ["camera", `${status.source} · ${status.camera}${status.reopened ? `, reopened ${status.reopened} times` : ""}`],
    ["running for", duration(status.uptime_s)],
  ];
  byId("facts").replaceChildren(...facts.map(([name, value]) => {
    const fact = element("div", "");
    fact.append(element("dt", name), element("dd", value));
    return fact;
  }));
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (days) { return `${days} d ${hours % 24} h`; }
  if (hours) { return `${hours} h ${minutes % 60} min`; }
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

// ------------------------------------------------------------------------------------------------------------ video

// The stream is read here and not by an <img>: so it can be said why there is none, and it ends while nobody looks.
async function watch() {
  for (;;) {
    if (document.hidden) { await visible(); }
    const stop = new AbortController();
    const hide = () => { if (document.hidden) { stop.abort(); } };
    document.addEventListener("visibilitychange", hide);
    try {
      const answer = await fetch("/stream.mjpg", { cache: "no-store", signal: stop.signal });
      if (answer.ok) { await readPictures(answer.body.getReader()); }
      else { state.words = await reasonOf(answer); state.video = "refused"; }
    } catch { /* gone or hidden: tried again below */ }
    document.removeEventListener("visibilitychange", hide);
    if (state.video === "live") { state.video = "connecting"; }
    showState();
    if (!document.hidden) { await pause(RETRY_MS); }
  }
}

// Parts of multipart/x-mixed-replace: a head with the picture's length, an empty line, the picture.
async function readPictures(reader) {
  let rest = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) { return; }
    rest = joined(rest, value);
    for (let part = cutPart(rest); part; part = cutPart(rest)) {
      rest = part.rest;
      if (part.picture && !cutPart(rest)) { await paint(part.picture); }
    }
  }
}

function joined(one, other) {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

function cutPart(bytes) {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 512));
  const end = head.indexOf("\r\n\r\n"), length = /content-length: *(\d+)/i.exec(head.slice(0, Math.max(0, end)));
  if (end < 0 || !length) { return null; }
  const from = end + 4, to = from + Number(length[1]);
  return bytes.length < to ? null : { picture: bytes.slice(from, to), rest: bytes.subarray(to) };
}

async function paint(bytes) {
  let picture;
  try { picture = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" })); }
  catch { return; }
  const canvas = byId("video");
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  state.pictures += 1;
  canvas.dataset.pictures = String(state.pictures);
  if (state.video !== "live") { state.video = "live"; showState(); }
}

// Not by a form: under this page's referrer policy a form's Origin would be "null", which the board refuses.
byId("logout").addEventListener("click", async () => {
  await fetch("/logout", { method: "POST" });
  location.assign("/login");
});

const redraw = () => { if (state.status) { drawChart(byId("chart"), state.status.history); } };
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
follow();
watch();
