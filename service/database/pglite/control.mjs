// The words of memory that the network thread and the engine's thread share.
// The engine runs a statement without coming up for air, so these are read while it runs.

export const POSTED = 0 // how many requests were posted to the engine; it sleeps on this word
export const UNSENT = 1 // bytes of results that no socket has taken yet
export const CANCELLED = 2 // the client whose running statement is to be cancelled
export const DEADLINE = 3 // when the running statement's statement_timeout ends, in seconds; 0: it has none

export const createControl = () => new Int32Array(new SharedArrayBuffer(16))
export const seconds = () => Math.floor(performance.timeOrigin / 1000 + performance.now() / 1000)
