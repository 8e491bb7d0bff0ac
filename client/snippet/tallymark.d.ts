// What a page may call of tallymark.js: `/// <reference path="tallymark.d.ts" />`, or its name among a project's files.

interface TallymarkPayloads {
  view: { url: string; title?: string | null; [key: string]: unknown };
  click: { element_id?: string | null; text?: string | null; xpath?: string | null; [key: string]: unknown };
  location: { latitude: number; longitude: number; accuracy?: number | null; [key: string]: unknown };
}

interface Tallymark {
  /** Sends an event. Does nothing where the visitor wants not to be counted, and never throws. */
  track<Type extends keyof TallymarkPayloads>(type: Type, payload: TallymarkPayloads[Type]): void;
  /** Asks the visitor for the location, and sends it if it is given. */
  location(): void;
}

interface Window {
  /** Missing until the script has run, and where it was not loaded: `window.tallymark?.track(...)`. */
  tallymark?: Tallymark;
}
