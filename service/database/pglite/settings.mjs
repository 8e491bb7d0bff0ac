// Settings: the usual ones in place of PGlite's, and those of each connection put in place when it gets its turn.

import { STATUS, parameterStatus } from './protocol.mjs'

// PGlite reads no configuration file, and starts PostgreSQL with other values than the usual ones.
const USUAL = [
  ['search_path', '"$user", public'],
  ['enable_seqscan', 'on'],
  ['log_min_messages', 'fatal'], // what goes wrong in a statement is told to its client
  ['TimeZone', 'UTC'],
]
const REPORTED = [
  'TimeZone', 'DateStyle', 'IntervalStyle', 'client_encoding', 'application_name', 'search_path',
  'standard_conforming_strings', 'default_transaction_read_only', 'is_superuser', 'session_authorization',
]
const FIXED = ['server_version', 'server_encoding', 'integer_datetimes', 'in_hot_standby', 'scram_iterations']
const MILLISECONDS = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 }

const literal = text => `'${text.replaceAll("'", "''")}'`
const setConfig = settings => settings.map(([name, value]) => `set_config(${literal(name)}, ${literal(value)}, false)`).join(', ')
const current = names => `SELECT ${names.map(name => `current_setting(${literal(name)})`).join(', ')}`
const SET_USUAL = `SELECT ${setConfig(USUAL)}`
const RESET = `SET SESSION AUTHORIZATION postgres; RESET ROLE; RESET ALL; ${SET_USUAL}`
const UNUSUAL = `SELECT name, setting FROM pg_settings WHERE source = 'session'
  AND (name, setting) NOT IN (${USUAL.map(pair => `(${pair.map(literal).join(', ')})`).join(', ')})
  UNION ALL SELECT 'session_authorization', session_user WHERE session_user <> 'postgres'
  UNION ALL SELECT 'role', current_setting('role') WHERE current_setting('role') <> 'none'`
const CUSTOM = names => `SELECT name, current_setting(name, true) FROM unnest(ARRAY[${names.map(literal).join(', ')}]::text[]) name
  WHERE current_setting(name, true) <> ''`

function duration(text) {
  const [, number, unit = 'ms'] = /^(\d+)([a-z]*)$/.exec(text)
  return number * MILLISECONDS[unit || 'ms']
}

export class Settings {
  #applied = '' // the settings in force, as JSON

  constructor(postgres, log) {
    this.postgres = postgres
    this.log = log
    postgres.query(RESET)
  }

  // What ParameterStatus tells every new connection.
  initialReport() {
    const names = [...FIXED, ...REPORTED]
    const [values] = this.postgres.query(current(names))
    return Object.fromEntries(names.map((name, i) => [name, values[i]]))
  }

  // Before a connection's turn.
  apply(session) {
    const wanted = session.settings.length ? JSON.stringify(session.settings) : ''
    if (wanted === this.#applied) return
    try {
      this.postgres.query(wanted ? `${RESET}; SELECT ${setConfig(session.settings)}` : RESET)
    } catch (error) {
      this.log(`settings of connection ${session.id}: ${error.message}`)
      this.postgres.query(RESET)
    }
    this.#applied = wanted
  }

  // After a statement: returns the ParameterStatus messages to send, and remembers what the connection has set.
  note(session) {
    if (session.status === STATUS.Failed || !(session.settingsChanged || session.wasReset)) return []
    if (session.wasReset) this.#undoReset(session)
    const changed = this.#report(session)
    if (session.status === STATUS.Idle) this.#remember(session)
    return changed
  }

  // RESET leads back to PGlite's values where the connection has set none since.
  #undoReset(session) {
    session.wasReset = false
    const set = new Set(this.postgres.query("SELECT name FROM pg_settings WHERE source = 'session'").map(([name]) => name))
    const missing = USUAL.filter(([name]) => !set.has(name))
    if (missing.length) this.postgres.query(`SELECT ${setConfig(missing)}`)
  }

  #report(session) {
    const [values] = this.postgres.query(current(['statement_timeout', ...REPORTED]))
    session.statementTimeout = duration(values.shift())
    const changed = REPORTED.filter((name, i) => session.reported[name] !== values[i])
    REPORTED.forEach((name, i) => (session.reported[name] = values[i]))
    return changed.map(name => parameterStatus(name, session.reported[name]))
  }

  #remember(session) {
    session.settingsChanged = false
    session.settings = this.postgres.query(UNUSUAL)
    if (session.custom.size) session.settings.push(...this.postgres.query(CUSTOM([...session.custom])))
    this.#applied = session.settings.length ? JSON.stringify(session.settings) : ''
  }
}
