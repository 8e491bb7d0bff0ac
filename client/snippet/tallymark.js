// Counts the page that embeds it; docs/snippet.md says what it sends and when. It is served without its comments, which
// stand on lines of their own, and without indentation (service/snippet.py): as gzip, that must stay below 2 kB.
(() => {
  // An element of the page may have that id.
  if (window.tallymark?.track) return;

  // A module has no script element; then the body's attributes count, so that it can't come before the body.
  const { dataset, src = location } = document.currentScript || document.body;
  const urlOf = (path) => new URL(path, dataset.host || src);
  const silent =
    navigator.doNotTrack == 1 || navigator.globalPrivacyControl || (navigator.webdriver && dataset.allowAutomation == null);

  const hex = (number) => number.toString(16).padStart(12, 0);
  // 18 digits, of two numbers of 64 bits.
  const random = () => Array.from(crypto.getRandomValues(new BigUint64Array(2)), hex).join("").slice(-18);

  // Each waiting event has a key of its own in the site's storage: tabs that add and remove some overwrite no others.
  // A key is "tallymark:" and a UUIDv7 by this browser's clock, without its first hyphen.
  let waiting = {};
  let locks;
  let user_id = random();
  // Storage may be refused: then memory serves.
  try {
    waiting = localStorage || waiting;
    locks = navigator.locks;
    if (!silent) user_id = sessionStorage.tallymark ||= user_id;
  } catch {}

  const write = (key, value) => {
    const text = JSON.stringify(value);
    try {
      waiting[key] = text;
    } catch {
      // It is full. From here on this page has a copy; what both send has the same id.
      waiting = { ...waiting, [key]: text };
    }
  };
  // Oldest first.
  const keys = () => Object.keys(waiting).filter((key) => /^tallymark:/.test(key)).sort();

  // By the service's clock. How many milliseconds that is ahead is kept too, once it is known.
  const timeOf = (key) => parseInt(key.slice(10, 22), 16) + (+waiting.tallymarkAhead || 0);
  const withId = (key, event, time) => {
    event.event_id = hex(time).replace(/.{8}/, "$&-") + key.slice(22);
    write(key, event);
  };

  // Browsers let 64 KiB outlive a page: 20,000 characters are at most 60,000 bytes, and commas. A longer event goes alone.
  const batches = () => {
    const found = [];
    let room = 0;
    for (const key of keys())
      try {
        const event = JSON.parse(waiting[key]);
        // It gets its id when it is first sent, and keeps it: sent again, by another tab too, it is stored once.
        if (!event.event_id) withId(key, event, timeOf(key));
        const text = waiting[key];
        if ((room -= text.length) < 0) {
          room = 2e4 - text.length;
          found.push([]);
        }
        found.at(-1).push([key, text]);
      } catch {
        // Gone meanwhile, or not ours.
        delete waiting[key];
      }
    return found;
  };
  const bodyOf = (batch) => `[${batch.map(([, text]) => text)}]`;

  // How often in a row the service was there, but its answer could not be read: its CORS_ALLOWED_ORIGINS lacks this site.
  let unread = 0;

  // What was answered long after it was asked, as to a computer that slept, says nothing of the clock.
  const ask = async (path, options) => {
    const asked = Date.now();
    const signal = AbortSignal.timeout?.(15e3);
    const answer = await fetch(urlOf(path), { ...options, signal }).catch(async () => {
      await fetch(urlOf("health/live"), { mode: "no-cors", signal });
      throw unread++;
    });
    unread = 0;
    const now = Date.now();
    const ahead = Date.parse(answer.headers.get("Date")) - now;
    if (Math.abs(now - asked) < 2e4) write("tallymarkAhead", Math.abs(ahead) > 3e4 ? ahead : 0);
    return answer;
  };

  // Sends the oldest batch. Returns nothing once it is settled, else for how many seconds to rest at least; or throws.
  const send = async () => {
    if (!waiting.tallymarkAhead) await ask("health/live").catch(() => 0);
    const [batch] = batches();
    if (!batch) return;
    const body = bodyOf(batch);
    // A text needs no preflight.
    const answer = await ask("events/batch", { method: "POST", body, keepalive: body.length < 21e3 });
    if (!/202|4(?!08|29)../.test(answer.status)) return +answer.headers.get("Retry-After") || 0;
    const told = await answer.json().catch(() => 0);
    // A 202 that was cut short.
    if (answer.ok && !told) return 0;
    batch.forEach(([key, text], index) => {
      const now = Date.parse(told.rejected?.find((event) => event.index == index)?.server_time);
      const time = Math.min(timeOf(key), now);
      // Refused for its time: the clock was wrong, unless it waited for more than seven days. Else now is NaN.
      if (now - time < 6048e5) withId(key, JSON.parse(text), time);
      else delete waiting[key];
    });
  };

  let busy, wake;
  const flush = async () => {
    if (busy) return;
    busy = 1;
    // What can't be read is not asked for without end: the next page goes on, under the same ids.
    for (let failures = 0; keys()[0] && unread < 10; ) {
      // One tab at a time.
      const rest = await (locks?.request("tallymark", send) || send()).catch(() => 0);
      if (rest == null) failures = 0;
      else
        await new Promise((resolve) => {
          wake = resolve;
          setTimeout(resolve, Math.max(Math.min(rest, 3600), Math.min(2 ** failures++, 60)) * (1 + Math.random() / 4) * 1e3);
        });
    }
    busy = 0;
  };

  // A page that is left may not come back; what the service has already it does not store again.
  const leave = () => {
    try {
      batches().every((batch) => navigator.sendBeacon(urlOf("events/batch"), bodyOf(batch)));
    } catch {}
  };

  const whenSeen = (act) =>
    silent || (document.prerendering ? document.addEventListener("prerenderingchange", act) : act());

  const track = (event_type, payload) => {
    whenSeen(() => {
      try {
        write("tallymark:" + hex(Date.now()) + random().replace(/(...)(...)/, "-7$1-8$2-"), {
          user_id,
          event_type,
          payload,
        });
        if (keys()[1e3]) delete waiting[keys()[0]];
        flush();
      } catch {}
    });
  };

  let viewed;
  const view = () => {
    const { href } = location;
    const url = dataset.hash == null ? href.split("#")[0] : href;
    if (viewed != url) track("view", { url: (viewed = url), title: document.title });
  };
  // A page that a script moves to sets its title after it.
  const viewSoon = () => setTimeout(view);

  window.tallymark = {
    track,
    location: () =>
      whenSeen(() =>
        navigator.geolocation?.getCurrentPosition(({ coords: { latitude, longitude, accuracy } }) =>
          track("location", { latitude, longitude, accuracy }),
        ),
      ),
  };

  whenSeen(() => {
    view();
    for (const name of ["pushState", "replaceState"]) {
      const move = history[name];
      history[name] = (...args) => {
        move.apply(history, args);
        viewSoon();
      };
    }
    addEventListener("popstate", viewSoon);
    addEventListener("pageshow", ({ persisted }) => persisted && view((viewed = 0)));
    addEventListener("pagehide", leave);
    addEventListener("visibilitychange", () => document.hidden && leave());
    addEventListener("online", () => wake?.());
    // Before the page's own listeners, which may stop it.
    addEventListener(
      "click",
      ({ target }) => {
        const element = target.closest?.("[data-tallymark]");
        if (element) track("click", { element_id: element.dataset.tallymark || element.id });
      },
      true,
    );
  });
})();
