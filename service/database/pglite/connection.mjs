// One client's socket: its startup, its byte stream cut into requests, its results written as fast as it reads them.

import { randomInt } from 'node:crypto'
import { FRONTEND, STATUS, errorResponse, int32, message, readyForQuery, sync } from './protocol.mjs'
import { Client } from './scheduler.mjs'

const DATABASE = 'tallymark'
const [CANCEL_REQUEST, SSL_REQUEST, GSSENC_REQUEST] = [80877102, 80877103, 80877104]
const CANCEL_BYTES = 16
const VERSION_3_0 = 3 << 16
const MAX_AHEAD_BYTES = 8 << 20
const MIN_STARTUP_BYTES = 8
const MAX_STARTUP_BYTES = 10_000
const MAX_MESSAGE_BYTES = (1 << 30) - 1
const STALL_MS = 5000 // for a client that does not read, when that holds up the engine
const STALL_BYTES = 32 << 20
const STARTUP_MS = 30_000

const { CopyData, CopyDone, CopyFail, Flush, FunctionCall, Query, Sync, Terminate } = FRONTEND
const KNOWN = new Set(Object.values(FRONTEND))
const ENDS_REQUEST = new Set([Query, Sync, Flush, FunctionCall])
const COPY_MESSAGES = new Set([CopyData, CopyDone, CopyFail])
const START_OPTION = /(?:-c\s*|--)([\w.-]+)=((?:\\.|[^\s\\])*)/g

export class Connection extends Client {
  secret = randomInt(2 ** 31)
  #startup = null // its parameters, once they came
  greeted = false
  #chunks = [] // the stream, as far as it is not cut yet
  #size = 0
  #wanted = 8 // bytes without which there is nothing to cut
  #request = [] // the messages of an unfinished request
  #requestBytes = 0
  #unsentBytes = 0
  #stalled = null
  #terminated = false

  constructor(id, socket, server) {
    super(id, server.scheduler)
    this.server = server
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', bytes => this.#received(bytes))
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', () => this.#closed())
    this.startTimer = setTimeout(() => this.end('57P03', 'the database system is starting up'), STARTUP_MS)
  }

  // Results from the engine.
  write(bytes) {
    this.#unsentBytes += bytes.length
    this.#stalled ??= setTimeout(() => this.#stall(), STALL_MS)
    this.socket.write(bytes, () => {
      this.server.sent(bytes.length)
      this.#unsentBytes -= bytes.length
      clearTimeout(this.#stalled)
      this.#stalled = this.#unsentBytes ? setTimeout(() => this.#stall(), STALL_MS) : null
    })
  }

  // The last word to a client.
  end(sqlstate, text) {
    this.#say(errorResponse('FATAL', sqlstate, text))
    if (this.#unsentBytes) this.socket.destroy()
    else this.socket.destroySoon()
    this.#closed()
  }

  // Once the engine is up and the client has said who it is.
  greet(reported) {
    if (!this.#startup || this.greeted) return
    this.greeted = true
    clearTimeout(this.startTimer)
    this.settings = startSettings(this.#startup)
    this.reported = { ...reported }
    for (const [name, value] of this.settings) {
      const known = Object.keys(reported).find(other => other.toLowerCase() === name.toLowerCase())
      if (known) this.reported[known] = value
    }
    const authenticationOk = message('R', int32(0))
    const parameters = Object.entries(this.reported).map(pair => message('S', ...pair))
    const backendKeyData = message('K', int32(this.id, this.secret))
    this.#say(Buffer.concat([authenticationOk, ...parameters, backendKeyData, readyForQuery(STATUS.Idle)]))
  }

  // The engine has taken what was posted.
  caughtUp() {
    if (this.socket.isPaused() && this.aheadBytes < MAX_AHEAD_BYTES) this.socket.resume()
  }

  cancel() {
    if (this.scheduler.cancel(this) || !this.requests.length || !answersItself(this.requests[0])) return
    this.requests.shift() // it still waits for its turn
    this.#say(Buffer.concat([errorResponse('ERROR', '57014', 'canceling statement due to user request'), readyForQuery(STATUS.Idle)]))
  }

  #say(bytes) {
    if (this.socket.writable) this.socket.write(bytes)
  }

  #stall() {
    this.#stalled = null
    if (this.#unsentBytes > STALL_BYTES) this.end('57014', 'terminating connection because the client does not read its results')
    else if (this.#unsentBytes) this.#stalled = setTimeout(() => this.#stall(), STALL_MS)
  }

  #closed() {
    if (this.gone) return
    clearTimeout(this.startTimer)
    clearTimeout(this.#stalled)
    this.server.forget(this)
    this.scheduler.leave(this, this.#terminated)
  }

  #received(bytes) {
    this.#chunks.push(bytes)
    this.#size += bytes.length
    if (this.#size < this.#wanted || this.gone) return
    const stream = this.#chunks.length === 1 ? bytes : Buffer.concat(this.#chunks)
    const cut = this.#cut(stream)
    this.#chunks = cut < stream.length ? [stream.subarray(cut)] : []
    this.#size = stream.length - cut
    if (this.gone || !this.requests.length) return
    this.scheduler.submit(this)
    if (this.copying && this.aheadBytes > MAX_AHEAD_BYTES) this.socket.pause()
  }

  // Cuts off every whole message; returns where the rest begins.
  #cut(stream) {
    let offset = 0
    while (!this.gone && !this.#terminated) {
      const header = this.#startup ? 5 : 4 // the first message has no type
      this.#wanted = header
      if (stream.length - offset < header) break
      const length = stream.readInt32BE(offset + header - 4) + header - 4
      if (length < (this.#startup ? header : MIN_STARTUP_BYTES) || length > (this.#startup ? MAX_MESSAGE_BYTES : MAX_STARTUP_BYTES)) {
        this.end('08P01', 'invalid message length')
        break
      }
      this.#wanted = length
      if (stream.length - offset < length) break
      const bytes = stream.subarray(offset, offset + length)
      if (this.#startup) this.#message(bytes)
      else this.#start(bytes)
      offset += length
    }
    if (this.copying) this.#finishRequest()
    return offset
  }

  #message(bytes) {
    const type = bytes[0]
    if (!KNOWN.has(type)) return this.end('08P01', `invalid frontend message type ${type}`)
    if (type === Terminate) {
      this.#finishRequest()
      this.#terminated = true
      return this.socket.end()
    }
    const late = COPY_MESSAGES.has(type) && !this.copying && this.scheduler.busy !== this && !this.requests.length
    if (late) return // what follows a COPY that failed
    this.#request.push(bytes)
    this.#requestBytes += bytes.length
    if (ENDS_REQUEST.has(type) || this.#requestBytes > MAX_AHEAD_BYTES) this.#finishRequest()
  }

  #finishRequest() {
    if (!this.#request.length) return
    this.requests.push(this.#request.length === 1 ? this.#request[0] : Buffer.concat(this.#request))
    this.#request = []
    this.#requestBytes = 0
  }

  #start(bytes) {
    const code = bytes.readInt32BE(4)
    if (code === SSL_REQUEST || code === GSSENC_REQUEST) return this.socket.write('N') // neither
    if (code === CANCEL_REQUEST) {
      if (bytes.length === CANCEL_BYTES) this.server.cancel(bytes.readInt32BE(8), bytes.readInt32BE(12))
      this.#terminated = true
      return this.socket.end()
    }
    if (code >> 16 !== 3) return this.end('0A000', 'unsupported frontend protocol')
    this.#startup = parameters(bytes)
    const unknown = Object.keys(this.#startup).filter(name => name.startsWith('_pq_.'))
    if (code !== VERSION_3_0 || unknown.length) this.#say(message('v', int32(VERSION_3_0, unknown.length), ...unknown))
    const { database, user } = this.#startup
    if ((database ?? user) !== DATABASE) return this.end('3D000', `database "${database ?? user}" does not exist; this server has "${DATABASE}"`)
    this.server.started(this)
  }
}

function parameters(bytes) {
  const fields = bytes.toString('utf8', 8).split('\0')
  const result = {}
  for (let i = 0; fields[i]; i += 2) result[fields[i]] = fields[i + 1] ?? ''
  return result
}

function startSettings({ user, database, options = '', replication, ...others }) {
  const settings = Object.entries(others).filter(([name]) => !name.startsWith('_pq_.'))
  for (const [, name, value] of options.matchAll(START_OPTION)) settings.push([name.replaceAll('-', '_'), value.replace(/\\(.)/g, '$1')])
  if (user && user !== 'postgres') settings.push(['session_authorization', user])
  return settings
}

// Whether PostgreSQL would answer the request with ReadyForQuery.
const answersItself = request => request[0] === Query || request.subarray(-sync.length).equals(sync)
