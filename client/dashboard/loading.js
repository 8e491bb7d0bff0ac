// Loads the parts of the page beside each other. Of a view that is left, what is still under way is given up; what it has
// in common with the next one is not asked for again.
import { ask } from "./api.js";

const LONGEST_PAUSE_SECONDS = 60;

// A part has a `section`, `load(view, get)`, `show(answer, view)`, and is `last` if it has to wait for the others.
// `tell` is called with the troubles that there are, whenever they change.
export function loaderOf(parts, tell) {
  let controller = new AbortController();
  let answers = new Map();

  return async function load(view) {
    controller.abort();
    controller = new AbortController();
    const run = runOf(view, controller.signal, answers, (answers = new Map()), tell);
    for (const part of parts) part.section.setAttribute("aria-busy", "true");
    await Promise.all(parts.filter((part) => !part.last).map((part) => run(part)));
    if (!run.signal.aborted) await Promise.all(parts.filter((part) => part.last).map((part) => run(part)));
  };
}

function runOf(view, signal, earlier, answers, tell) {
  const troubles = new Map();

  async function get(path, parameters) {
    const url = `${path}?${new URLSearchParams(parameters)}`;
    const answer = answers.get(url) ?? earlier.get(url) ?? (await ask(url, signal));
    answers.set(url, answer);
    return answer;
  }

  async function run(part, attempt = 0) {
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

  return Object.assign(run, { signal });
}
