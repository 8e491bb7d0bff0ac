// Watches what PostgreSQL sends to a client, in pieces that begin and end anywhere: passes it on, except for
// ReadyForQuery (kept back, since there may be more to say first), notifications, and PGlite's own chatter.

import { BACKEND } from './protocol.mjs'

const { CommandComplete, NoticeResponse, NotificationResponse, ReadyForQuery } = BACKEND
const WATCHED = new Set([CommandComplete, NoticeResponse, NotificationResponse, ReadyForQuery])
const HEADER = 5
const CHATTER = Buffer.from('\0M# ')

export class Output {
  #held = null // the beginning of a message whose end is still to come
  #passing = 0 // bytes still to come of a message that is passed on unread

  // pass(bytes), complete(tag), ready(status)
  constructor(handlers) {
    this.handlers = handlers
  }

  feed(piece) {
    let bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.length)
    if (this.#held) bytes = Buffer.concat([this.#held, bytes])
    this.#held = null
    let start = 0 // of what is to be passed on
    let offset = Math.min(this.#passing, bytes.length)
    this.#passing -= offset
    while (offset < bytes.length) {
      const whole = offset + HEADER <= bytes.length && offset + 1 + bytes.readInt32BE(offset + 1)
      const watched = WATCHED.has(bytes[offset])
      if (!whole || (watched && whole > bytes.length)) {
        this.#held = bytes.subarray(offset)
        bytes = bytes.subarray(0, offset)
        break
      }
      if (watched && !this.#watch(bytes.subarray(offset, whole))) {
        this.#pass(bytes.subarray(start, offset))
        start = whole
      }
      this.#passing = Math.max(0, whole - bytes.length)
      offset = Math.min(whole, bytes.length)
    }
    this.#pass(bytes.subarray(start))
  }

  #pass(bytes) {
    if (bytes.length) this.handlers.pass(bytes)
  }

  // Whether the client gets this message.
  #watch(bytes) {
    switch (bytes[0]) {
      case CommandComplete:
        this.handlers.complete(bytes.toString('latin1', HEADER, bytes.length - 1))
        return true
      case ReadyForQuery:
        this.handlers.ready(bytes[HEADER])
        return false
      case NoticeResponse:
        return !bytes.includes(CHATTER)
      default:
        return false
    }
  }
}
