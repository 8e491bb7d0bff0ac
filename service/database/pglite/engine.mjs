// The engine's thread: takes one connection's request at a time, lets PostgreSQL answer it, posts the answer.
// It has a thread of its own because PostgreSQL blocks: while it computes, and while a COPY waits for its data.

import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { CANCELLED, DEADLINE, POSTED, UNSENT, seconds } from './control.mjs'
import { openDatabase } from './data_directory.mjs'
import { Output } from './output.mjs'
import { FRONTEND, STATUS, messages, parse, query, readyForQuery, sync } from './protocol.mjs'
import { Session } from './session.mjs'
import { Settings } from './settings.mjs'

const CHECKPOINT_BYTES = 64 << 20
const PIECE_BYTES = 128 << 10 // of a result, posted while the rest is being made
const MAX_UNSENT_BYTES = 64 << 20

const { directory, durable, port, control } = workerData
const log = line => port.postMessage({ log: line })
const postgres = await openDatabase(directory, durable, log)
const sessions = new Map()
let session = null // whose request is being answered
let pending = [].values() // what is left of the request
let chunks = []
let size = 0
let received = 0
let taken = 0 // requests since the last post, so that the other side knows how far ahead it is
let deadline = 0

const settings = new Settings(postgres, log)
const output = new Output({
  pass: push,
  complete: tag => session.completed(tag),
  ready: status => session.becomesReady(status),
})
postgres.mustEnd = () => Atomics.load(control, CANCELLED) === session.id || (deadline > 0 && performance.now() > deadline)
postgres.moreInput = nextCopyMessage
port.postMessage({ up: true, reported: settings.initialReport() })
for (let request = receive(); !request.stop; request = receive()) {
  if (request.leave) leave(request.id)
  else answer(request)
}
await postgres.close()
port.postMessage({ stopped: true })

function receive() {
  while (Atomics.load(control, POSTED) === received) Atomics.wait(control, POSTED, received)
  received++
  for (;;) {
    const posted = receiveMessageOnPort(port)
    if (posted) return posted.message
  }
}

function answer({ id, bytes, settings: initial, reported }) {
  if (!sessions.has(id)) sessions.set(id, new Session(id, postgres, { settings: initial, reported }))
  session = sessions.get(id)
  taken++
  if (!session.holds) {
    settings.apply(session)
    settings.note(session).forEach(push) // a new connection may have brought settings
  }
  postgres.output = piece => output.feed(piece)
  pending = messages(Buffer.from(bytes.buffer))
  for (const message of { [Symbol.iterator]: () => ({ next: () => pending.next() }) }) perform(message)
  post({ done: true, holds: session.holds, changedRows: session.changedRows })
  session.changedRows = 0
  if (postgres.walBytes > CHECKPOINT_BYTES && !session.holds) checkpoint()
}

function perform(original) {
  const message = session.translate(original)
  if (!message) return
  const runs = message[0] === FRONTEND.Query || message[0] === FRONTEND.Execute
  if (runs) startClock(session.statementTimeout)
  postgres.execute(message, runs)
  if (!session.ready) return
  for (const changed of settings.note(session)) push(changed)
  push(readyForQuery(session.status))
}

function startClock(timeout) {
  deadline = timeout && performance.now() + timeout
  Atomics.store(control, DEADLINE, timeout && seconds() + Math.ceil(timeout / 1000))
}

// COPY ... FROM STDIN reads on from here; it is never given an end of file, but CopyFail when its client has gone.
function nextCopyMessage() {
  for (;;) {
    const { value } = pending.next()
    if (value) return value
    post({ needsInput: true })
    pending = messages(Buffer.from(receive().bytes.buffer))
    taken++
  }
}

function push(bytes) {
  chunks.push(bytes)
  size += bytes.length
  if (size > PIECE_BYTES) post({})
}

function post(news) {
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  chunks = []
  size = 0
  for (let unsent; (unsent = Atomics.load(control, UNSENT)) > MAX_UNSENT_BYTES; ) Atomics.wait(control, UNSENT, unsent, 1000)
  Atomics.add(control, UNSENT, bytes.length)
  port.postMessage({ id: session.id, bytes, taken, ...news }, [bytes.buffer])
  taken = 0
}

// A client has gone, wherever it was: what it had begun is rolled back.
function leave(id) {
  session = sessions.get(id)
  postgres.output = piece => output.feed(piece)
  if (session.extended) { // an error first, so that Sync does not commit
    postgres.execute(parse('', 'the client has gone'))
    postgres.execute(sync)
  }
  if (session.status !== STATUS.Idle) postgres.execute(query('ROLLBACK'))
  session.forgetStatements()
  postgres.execute(sync)
  sessions.delete(id)
  chunks = []
  size = 0
  taken++
  post({ done: true, left: true, holds: false, changedRows: 0 })
}

// There is no checkpointer process.
function checkpoint() {
  try {
    postgres.checkpoint()
  } catch (error) {
    log(`checkpoint: ${error.message}`)
  }
}
