// What the page shows, and the key that it is given. It sends nothing: it listens to what the script in index.html
// tells, which begins after it, and reads the counts.
const REFRESH_SECONDS = 2;
const SHOWN_EVENTS = 50;

const number = new Intl.NumberFormat("en");
const opened = Date.now();
const rows = new Map();
let service;
let clockOffset = 0;
let reading = false;
let readAgain = false;
let isShut = false;

const element = (id) => document.getElementById(id);

takeKey();

document.addEventListener("tallymark:start", ({ detail }) => {
  service = detail.service;
  element("dashboard").href = `${service}/dashboard/`;
  element("api").href = `${service}/docs`;
  element("snippet").href = `${service}/tallymark.js`;
  refresh();
  setInterval(() => document.hidden || isShut || refresh(), REFRESH_SECONDS * 1000);
});

document.addEventListener("tallymark:worker", ({ detail: { works } }) => {
  element("sender").textContent = works
    ? `By the service worker, to ${service}`
    : `By the page itself, to ${service}: there is no service worker here`;
});

document.addEventListener("tallymark:location", ({ detail: { problem } }) =>
  say(problem ? `${problem} Nothing was sent.` : "Asking for the location…"));

document.addEventListener("tallymark:event", ({ detail: entry }) => {
  clockOffset = entry.clockOffset;
  showEvent(entry);
  say(sentence(entry));
  if (entry.state === "refused") askForKey(entry);
  if (entry.state === "stored") refresh();
});

document.addEventListener("visibilitychange", () => document.hidden || refresh());

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const address = new URL(location.href);
  address.searchParams.set("key", element("key").value.trim());
  location.assign(address);
});

// A write key in the page's address is kept for this tab, and leaves the address, which is what a view says.
function takeKey() {
  const address = new URL(location.href);
  let key = address.searchParams.get("key");
  if (key !== null) {
    address.searchParams.delete("key");
    history.replaceState(null, "", address);
  }
  try {
    if (key !== null) sessionStorage.tallymarkKey = key;
    key = sessionStorage.tallymarkKey;
  } catch {
    // Storage is refused: it is for this page alone.
  }
  if (key) document.querySelector("meta[name=tallymark-key]").content = key;
}

function askForKey({ status, body }) {
  if (status !== 401 && body?.type !== "urn:tallymark:problem:key-not-for-this") return;
  element("key-form").hidden = false;
}

function say(text) {
  if (element("said").textContent !== text) element("said").textContent = text;
}

function sentence({ event, state, status, milliseconds, body }) {
  if (state === "stored") return `The ${event.event_type} was stored in ${milliseconds.toFixed(0)} ms.`;
  if (state === "refused") return `The ${event.event_type} was refused: ${reason(body, status)}.`;
  if (status === undefined) return `The ${event.event_type} is being sent.`;
  return `${trouble(status, body)} What waits is sent again by itself.`;
}

function trouble(status, body) {
  if (status !== 0) return `The service can't store now: ${reason(body, status)}.`;
  return `No answer from ${service}.${!isOwn() ? ` Is it running, and does its CORS_ALLOWED_ORIGINS name ${location.origin}?` : ""}`;
}

function reason(body, status) {
  if (status === 401) return "the service takes events only with a write key, and this page has none that is valid";
  if (body?.type === "urn:tallymark:problem:key-not-for-this") return "the key is none that writes";
  const [error] = body?.errors ?? [];
  return error ? `${error.field}: ${error.message}` : body?.title ?? `it answered ${status}`;
}

function showEvent(entry) {
  if (!rows.has(entry)) addRow(entry);
  const row = rows.get(entry);
  const { event, state, status, milliseconds, body } = entry;
  const show = (selector, text) => (row.querySelector(selector).textContent = text);
  row.dataset.state = state;
  show(".type", event.event_type);
  show(".what", what(event));
  show(".state", state);
  show(".answer", status === undefined ? "" : `${status || "no answer"} · ${milliseconds.toFixed(0)} ms`);
  show("code", body?.event_id ?? event.event_id);
  const stored = body?.timestamp ?? ""; // A 202 whose body was cut off has none.
  row.querySelector("time").dateTime = stored;
  show("time", stored && `${stored.slice(11, -1)} UTC`);
}

function addRow(entry) {
  rows.set(entry, element("event").content.firstElementChild.cloneNode(true));
  element("events").prepend(rows.get(entry));
  const [oldest] = rows.keys();
  if (rows.size > SHOWN_EVENTS && oldest.state !== "waiting") {
    rows.get(oldest).remove();
    rows.delete(oldest);
  }
}

function what({ event_type, payload }) {
  if (event_type === "view") return payload.url;
  if (event_type === "click") return `#${payload.element_id}`;
  return `${payload.latitude.toFixed(4)}, ${payload.longitude.toFixed(4)}`;
}

// One reading at a time; what is asked for meanwhile is read after it.
async function refresh() {
  readAgain = true;
  if (reading) return;
  reading = true;
  while (readAgain) {
    readAgain = false;
    await readCounts();
  }
  reading = false;
}

async function readCounts() {
  const since = new Date(opened + clockOffset).toISOString();
  try {
    showCounts(await counts(""), await counts(`?start_date=${since}`));
    showWhetherRead(200);
  } catch ({ status }) {
    showWhetherRead(status);
  }
}

// What takes a login is not asked for again and again.
function showWhetherRead(status) {
  isShut = status === 401 || status === 403;
  element("counts").dataset.stale = status !== 200;
  element("counts-note").textContent =
    status === 200 ? "All events, and those since this page was opened"
    : !isShut ? "The counts can't be read now"
    : isOwn() ? "The counts are for who has logged in: "
    : "The counts are for who has logged in at the service";
  if (isShut && isOwn()) element("counts-note").append(Object.assign(document.createElement("a"), { href: "/login", textContent: "log in" }));
}

const isOwn = () => new URL(service, location.href).origin === location.origin;

async function counts(query) {
  const answer = await fetch(`${service}/analytics/event-counts-by-type${query}`, { cache: "no-store" });
  if (!answer.ok) throw Object.assign(new Error(`counts were answered ${answer.status}`), { status: answer.status });
  const byType = await answer.json();
  return { ...byType, total: Object.values(byType).reduce((sum, count) => sum + count, 0) };
}

function showCounts(all, sinceOpened) {
  for (const tile of element("counts").children) {
    const { type } = tile.dataset;
    tile.querySelector(".count").textContent = number.format(all[type] ?? 0);
    tile.style.setProperty("--share", all.total ? (all[type] ?? 0) / all.total : 0);
    const since = tile.querySelector(".since");
    const text = `+${number.format(sinceOpened[type] ?? 0)}`;
    if (since.textContent !== text) since.replaceWith(Object.assign(since.cloneNode(), { textContent: text }));
  }
}
