// Sends the events that a page posts to it to the service, and reports each outcome by the port that came along.
"use strict";

const ANSWER_SECONDS = 10;
const KEEPALIVE_CHARACTERS = 20_000; // Browsers refuse to keep a request of more than 64 KiB alive.

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => {
  const [port] = event.ports;
  // The worker lives until the answer is there, though the page may be closed before.
  event.waitUntil(post(event.data.url, event.data.event).then((outcome) => port?.postMessage(outcome)));
});

// Status 0: there was no answer.
async function post(url, event) {
  const body = JSON.stringify(event);
  try {
    const answer = await fetch(new URL(url), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
      keepalive: body.length < KEEPALIVE_CHARACTERS,
      signal: AbortSignal.timeout(ANSWER_SECONDS * 1000),
    });
    const retryAfter = Number(answer.headers.get("Retry-After")) || 0;
    return { status: answer.status, retryAfter, body: await answer.json().catch(() => null) };
  } catch {
    return { status: 0, retryAfter: 0, body: null };
  }
}
