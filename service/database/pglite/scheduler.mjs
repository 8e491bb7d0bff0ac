// Who holds the engine's only session: first come, first served, from a connection's first message to the
// ReadyForQuery that says it is idle. Keeps time as well: nobody may make the others wait for ever.

import { CANCELLED, DEADLINE, POSTED, UNSENT, seconds } from './control.mjs'
import { copyFail } from './protocol.mjs'

const IDLE_TRANSACTION_MS = 5000
const LONGEST_STATEMENT_S = 600
const GRACE_S = 5 // for a statement that was told to end: few go so long without looking whether they must

// One that has requests for the engine: a connection, or the jobs.
export class Client {
  requests = [] // cut off so that each ends where an answer is due
  aheadBytes = 0 // posted to the engine, not yet taken by it
  posted = [] // their sizes
  copying = false // the engine waits for COPY data from it
  known = false // to the engine
  gone = false
  settings = []
  reported = {}

  constructor(id, scheduler) {
    this.id = id
    this.scheduler = scheduler
  }
}

export class Scheduler {
  up = false
  busy = null // the client whose request the engine has
  #queue = []
  #holder = null // the client in a transaction, or between a message and its Sync
  #idleSince = 0
  #idleTimer
  #busySince = 0
  #toldToEnd = 0
  #stopping = false

  constructor({ control, log, restart }) {
    this.control = control
    this.log = log
    this.restart = restart
    setInterval(() => this.#keepTime(), 1000).unref()
  }

  get idle() {
    return this.up && !this.busy && !this.#holder && !this.#queue.length
  }

  // Whether a transaction is open and its client thinks: who queued now would have it ended for idling.
  get waitsForClient() {
    return this.#holder !== null && !this.busy
  }

  started(port) {
    this.port = port
    this.up = true
    this.#next()
  }

  // The engine is gone, and with it all that was under way.
  stopped() {
    this.up = false
    this.busy = this.#holder = null
    this.#queue = []
    clearTimeout(this.#idleTimer)
  }

  // The client has new requests.
  submit(client) {
    if (client === this.busy) {
      if (client.copying) this.#feedCopy(client)
      return
    }
    if (this.#stopping && !client.gone) return
    if (client !== this.#holder && !this.#queue.includes(client)) this.#queue.push(client)
    this.#next()
  }

  // The client has gone; its statement need not be finished unless it said goodbye.
  leave(client, politely) {
    client.gone = true
    if (!client.known) {
      this.#queue = this.#queue.filter(other => other !== client)
      return
    }
    if (!politely) client.requests = []
    if (client === this.busy && client.copying) this.#post(client, copyFail('the client has gone'))
    else if (client === this.busy && !politely) this.#endStatement(client)
    this.submit(client)
  }

  // Ends the client's running statement; returns whether there is one.
  cancel(client) {
    if (client !== this.busy) return false
    if (client.copying) this.#post(client, copyFail('canceling statement due to user request'))
    else this.#endStatement(client)
    return true
  }

  // Lets those that have gone leave properly, then stops the engine.
  stop() {
    this.#stopping = true
    this.#queue = this.#queue.filter(client => client.gone)
    if (this.busy && !this.busy.copying) this.#endStatement(this.busy)
    this.#next()
  }

  // What the engine says of its client's request.
  answered(client, { taken, needsInput, done, left, holds }) {
    for (const bytes of client.posted.splice(0, taken)) client.aheadBytes -= bytes
    if (needsInput) this.#wantCopyData(client)
    client.caughtUp?.()
    if (!done || client.posted.length) return // it will answer for COPY data that it has not read yet, too
    client.copying = false
    this.busy = null
    this.#toldToEnd = 0
    Atomics.store(this.control, CANCELLED, 0)
    Atomics.store(this.control, DEADLINE, 0)
    this.#holder = holds ? client : null
    this.#idleSince = Date.now()
    if (!holds && !left && (client.requests.length || client.gone)) this.#queue.push(client)
    client.finished?.()
    this.#next()
  }

  #next() {
    clearTimeout(this.#idleTimer)
    if (!this.up || this.busy) return this.#watchIdle()
    const client = this.#holder ?? this.#queue.shift()
    if (!client) return this.#stopping && this.#tellEngine({ stop: true })
    if (client.requests.length) this.#begin(client, client.requests.shift())
    else if (client.gone) this.#begin(client, null)
    else if (client === this.#holder) this.#watchIdle()
    else this.#next()
  }

  #begin(client, request) {
    this.busy = client
    this.#busySince = seconds()
    this.#post(client, request)
  }

  #post(client, request) {
    client.posted.push(request?.length ?? 0)
    client.aheadBytes += request?.length ?? 0
    const news = request ? { bytes: new Uint8Array(request) } : { leave: true }
    if (!client.known) Object.assign(news, { settings: client.settings, reported: client.reported })
    client.known = true
    this.#tellEngine({ id: client.id, ...news }, request ? [news.bytes.buffer] : [])
  }

  #tellEngine(news, transfer = []) {
    this.port.postMessage(news, transfer)
    Atomics.add(this.control, POSTED, 1)
    Atomics.notify(this.control, POSTED)
  }

  #wantCopyData(client) {
    client.copying = true
    this.#idleSince = Date.now()
    if (client.gone) this.#post(client, copyFail('the client has gone'))
    else this.#feedCopy(client)
  }

  #feedCopy(client) {
    this.#idleSince = Date.now()
    for (const request of client.requests.splice(0)) this.#post(client, request)
    this.#watchIdle()
  }

  // An open transaction or COPY makes everyone wait; so it may not idle for long, while someone does.
  #watchIdle() {
    clearTimeout(this.#idleTimer)
    const client = this.busy ? this.busy.copying && this.busy : this.#holder
    if (!client || client.gone || !this.#queue.length) return
    const rest = this.#idleSince + IDLE_TRANSACTION_MS - Date.now()
    const end = () => client.end('25P03', 'terminating connection due to idle-in-transaction timeout')
    this.#idleTimer = setTimeout(end, Math.max(0, rest))
  }

  #endStatement(client) {
    Atomics.store(this.control, CANCELLED, client.id)
    this.#toldToEnd ||= seconds()
  }

  // A statement that should have ended and goes on is stuck where nothing looks for interrupts.
  #keepTime() {
    if (!this.busy || this.busy.copying) return
    const now = seconds()
    const deadline = Atomics.load(this.control, DEADLINE)
    const overdue = (this.#toldToEnd && now > this.#toldToEnd + GRACE_S) || (deadline && now > deadline + GRACE_S)
    if (overdue && Atomics.load(this.control, UNSENT) === 0) {
      this.log('a statement does not end: restarting the engine')
      this.restart()
    } else if (now > this.#busySince + LONGEST_STATEMENT_S) this.#endStatement(this.busy)
  }
}
