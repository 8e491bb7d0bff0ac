// Asks the service that serves this page. `passes` says of a trouble that asking again may help.
export class Trouble extends Error {
  constructor(message, { passes = false, afterSeconds = 0 } = {}) {
    super(message);
    this.passes = passes;
    this.afterSeconds = afterSeconds;
  }
}

const PASSING = [408, 429, 502, 503, 504];

export async function ask(url, signal) {
  try {
    const answer = await fetch(`../${url}`, { signal, cache: "no-store" });
    if (answer.ok) return await answer.json();
    if (answer.status === 401) location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
    throw await troubleOf(answer);
  } catch (error) {
    if (error instanceof Trouble || signal.aborted) throw error;
    throw new Trouble("The service does not answer.", { passes: true });
  }
}

async function troubleOf(answer) {
  const { title, errors = [] } = await answer.json().catch(() => ({}));
  const fields = errors.map(({ field, message }) => `${field}: ${message}.`);
  return new Trouble(fields.join(" ") || `${title ?? `The service answered ${answer.status}`}.`, {
    passes: PASSING.includes(answer.status),
    afterSeconds: Number(answer.headers.get("Retry-After")) || 0,
  });
}
