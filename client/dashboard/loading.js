// Loads the parts of the page beside each other. Of a view that is left, what is still under way is given up; what it has
// in common with the next one is not asked for again.
import { ask } from "./api.js";

const LONGEST_PAUSE_SECONDS = 60;

// A part has a `section`, `load(view, get)` and `show(answer, view)`. Those that take long ask early: a browser has six connections.
// `tell` is called with the troubles that there are, whenever they change.
export function loaderOf(parts, tell) {
  let controller = new AbortController();
  let answers = new Map();
  let run;

  return {
    load(view) {
      controller.abort();
      controller = new AbortController();
      run = runOf(view, controller.signal, answers, (answers = new Map()), tell);
      for (const part of parts) run(part);
    },
    // A part of the same view that wants more than it asked for.
    loadMore: (part) => run(part),
  };
}

function runOf(view, signal, earlier, answers, tell) {
  const troubles = new Map();
  const underWay = new Map();

  async function get(path, parameters) {
    const url = `${path}?${new URLSearchParams(parameters)}`;
    const answer = answers.get(url) ?? earlier.get(url) ?? (await askOnce(url));
    answers.set(url, answer);
    return answer;
  }

  // Parts that need the same share a request.
  function askOnce(url) {
    if (!underWay.has(url)) underWay.set(url, ask(url, signal).finally(() => underWay.delete(url)));
    return underWay.get(url);
  }

  async function run(part, attempt = 0) {
    if (attempt === 0) part.section.setAttribute("aria-busy", "true");
    try {
      const answer = await part.load(view, get);
      if (signal.aborted) return;
      part.show(answer, view);
      settle(part, null);
    } catch (error) {
      if (signal.aborted) return;
      settle(part, error);
      if (error.passes) again(part, attempt, error.afterSeconds);
      else if (error.passes === undefined) console.error(error);
    }
  }

  function settle(part, trouble) {
    part.section.setAttribute("aria-busy", "false");
    part.section.toggleAttribute("data-failed", trouble !== null);
    if (trouble) troubles.set(part, trouble);
    else troubles.delete(part);
    tell([...troubles.values()]);
  }

  function again(part, attempt, afterSeconds) {
    const seconds = Math.max(afterSeconds, Math.min(2 ** attempt, LONGEST_PAUSE_SECONDS));
    const timer = setTimeout(() => run(part, attempt + 1), seconds * 1000);
    signal.addEventListener("abort", () => clearTimeout(timer));
  }

  return run;
}
