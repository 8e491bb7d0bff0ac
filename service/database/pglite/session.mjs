// What belongs to one connection and must not be seen by the others on the engine's single session:
// names of prepared statements, settings, the state of its transaction.

import { FRONTEND, STATUS, closeStatement, cstring, message, parse, query } from './protocol.mjs'

const { Bind, Close, CopyData, CopyDone, CopyFail, Describe, FunctionCall, Parse, Query } = FRONTEND
const LEFT_OVER = new Set([CopyData, CopyDone, CopyFail]) // from a COPY that failed: no COPY reads them here
const STATEMENT = 0x53 // the 'S' by which Describe and Close tell statements from portals
const NAMES_STATEMENT = /^\s*(deallocate\s+(?:prepare\s+)?|prepare\s+(?!transaction)|execute\s+)("(?:[^"]|"")+"|[\w$]+)/i
const DEALLOCATE_ALL = /^\s*deallocate\s+(prepare\s+)?all\s*;?\s*$/i
const DISCARD_ALL = /^\s*discard\s+all\s*;?\s*$/i
// Building an index concurrently needs other processes to wait for; here it would spoil the table.
const CONCURRENTLY = /^(\s*(?:create\s+(?:unique\s+)?index|drop\s+index|reindex\s+(?:\([^)]*\)\s*)?(?:table|index|schema|database|system)))\s+concurrently\b/i
const CUSTOM_SETTING = /(?:^\s*set\s+(?:session\s+)?|set_config\s*\(\s*')([a-z_]\w*\.\w+)/gi
const CHANGES_SETTINGS = /^(SET|RESET|DO|CALL|DISCARD)/

const unquote = name => (name[0] === '"' ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase())
let lastName = 0

export class Session {
  settings = [] // [name, value], as they differ from everyone's
  custom = new Set() // settings of the client's own making, which pg_settings does not list
  reported = {} // what ParameterStatus last said
  status = STATUS.Idle
  extended = false // since the last Sync
  ready = false // the last message was answered with ReadyForQuery
  settingsChanged = false
  wasReset = false
  statementTimeout = 0 // milliseconds
  changedRows = 0
  #names = new Map()
  #effects = new Map() // what executing a prepared statement does to the session

  constructor(id, postgres, { settings, reported }) {
    this.id = id
    this.postgres = postgres
    this.settings = settings
    this.reported = { ...reported }
    this.settingsChanged = settings.length > 0
  }

  // While this is so nobody else's messages may come between.
  get holds() {
    return this.extended || this.status !== STATUS.Idle
  }

  // The message that PostgreSQL gets for a client's, or null for none.
  translate(bytes) {
    if (LEFT_OVER.has(bytes[0])) return null
    if (bytes[0] !== Query && bytes[0] !== FunctionCall) this.extended = true
    this.ready = false
    switch (bytes[0]) {
      case Query: return this.#query(bytes)
      case Parse: return this.#parse(bytes)
      case Bind: return this.#bind(bytes)
      case Describe: case Close: return bytes[5] === STATEMENT ? this.#byName(bytes) : bytes
    }
    return bytes
  }

  completed(tag) {
    if (tag.startsWith('RESET') || tag.startsWith('DISCARD')) this.wasReset = true
    if (CHANGES_SETTINGS.test(tag)) this.settingsChanged = true
    if (/^(INSERT|UPDATE|DELETE|COPY|MERGE)/.test(tag)) this.changedRows += +tag.slice(tag.lastIndexOf(' ') + 1) || 0
  }

  becomesReady(status) {
    this.status = status
    this.extended = false
    this.ready = true
  }

  // Closes its prepared statements, but for one.
  forgetStatements(except) {
    for (const [name, own] of this.#names) {
      if (name === except) continue
      this.postgres.discard(closeStatement(own))
      this.#names.delete(name)
      this.#effects.delete(name)
    }
  }

  #query(bytes) {
    const [text] = cstring(bytes, 5)
    const own = this.#rewrite(text)
    this.#apply(this.#effectsOf(text))
    return own === text ? bytes : query(own)
  }

  #parse(bytes) {
    const [name, afterName] = cstring(bytes, 5)
    const [text, rest] = cstring(bytes, afterName)
    const own = this.#rewrite(text)
    this.#effects.set(name, this.#effectsOf(text))
    return name || own !== text ? parse(this.#own(name), own, bytes.subarray(rest)) : bytes
  }

  #bind(bytes) {
    const [portal, afterPortal] = cstring(bytes, 5)
    const [name, rest] = cstring(bytes, afterPortal)
    this.#apply(this.#effects.get(name), name)
    return name ? message('B', portal, this.#own(name), bytes.subarray(rest)) : bytes
  }

  #byName(bytes) {
    const [name] = cstring(bytes, 6)
    if (!name) return bytes
    const result = message(String.fromCharCode(bytes[0]), bytes.subarray(5, 6), this.#own(name))
    if (bytes[0] === Close) {
      this.#names.delete(name)
      this.#effects.delete(name)
    }
    return result
  }

  #own(name) {
    if (name && !this.#names.has(name)) this.#names.set(name, `s${++lastName}`)
    return this.#names.get(name) ?? ''
  }

  #rewrite(text) {
    if (DISCARD_ALL.test(text)) return 'RESET ALL'
    if (DEALLOCATE_ALL.test(text)) return 'UNLISTEN *' // does nothing; #apply closes this connection's statements only
    const named = NAMES_STATEMENT.exec(text)
    if (!named) return text.replace(CONCURRENTLY, '$1 ')
    return named[1] + this.#own(unquote(named[2])) + text.slice(named[0].length)
  }

  // What a statement will do to its session, as far as its text tells.
  #effectsOf(text) {
    const custom = [...text.matchAll(CUSTOM_SETTING)].map(match => match[1])
    const forgets = DISCARD_ALL.test(text) || DEALLOCATE_ALL.test(text)
    const sets = /set_config\s*\(/i.test(text)
    return custom.length || forgets || sets ? { custom, forgets, sets } : null
  }

  #apply(effects, statement) {
    if (!effects) return
    for (const name of effects.custom) this.custom.add(name)
    if (effects.sets) this.settingsChanged = true
    if (effects.forgets) this.forgetStatements(statement)
  }
}
