// What PostgreSQL's background processes would do: TimescaleDB's jobs, which queue like everyone, one small step at a
// time; and vacuum, in moments when nobody else wants the session.

import fs from 'node:fs'
import { UNSENT } from './control.mjs'
import { answer, query } from './protocol.mjs'
import { Client } from './scheduler.mjs'

const TICK_MS = 1000
const VACUUM_EVERY_MS = 15 * 60_000
const VACUUM_EVERY_ROWS = 1_000_000
const JOBS = `SELECT id, extract(epoch FROM schedule_interval) * 1000, extract(epoch FROM initial_start) * 1000,
  proc_name = 'policy_compression' AND NOT config ? 'maxchunks_to_compress', proc_name = 'policy_compression'
  FROM _timescaledb_config.bgw_job WHERE scheduled AND id >= 1000 ORDER BY id`
const COMPRESSED = 'SELECT count(*) FROM _timescaledb_catalog.chunk WHERE compressed_chunk_id IS NOT NULL'
const ONE_CHUNK_A_RUN = id => `SELECT alter_job(${id}, config => config || '{"maxchunks_to_compress": 1}') FROM _timescaledb_config.bgw_job WHERE id = ${id}`
const TABLE_SIZES = `SELECT oid, oid::regclass, pg_relation_size(oid) FROM pg_class
  WHERE relkind IN ('r', 'm') AND relpersistence = 'p' AND pg_relation_size(oid) > 0`

export class Jobs extends Client {
  #state = { lastRuns: {}, tableSizes: {} } // kept in a file, so that a restart does not run everything at once
  #failures = new Map() // what was said of a job's last failure
  #changedRows = 0
  #lastVacuum = Date.now()
  #tablesToVacuum = []
  #working = false
  #answer = null

  constructor(id, scheduler, { file, log }) {
    super(id, scheduler)
    this.file = file
    this.log = log
    try {
      Object.assign(this.#state, JSON.parse(fs.readFileSync(file, 'utf8')))
    } catch {} // new, or damaged: then everything is due
    setInterval(() => this.#tick(), TICK_MS).unref()
  }

  changed(rows) {
    this.#changedRows += rows
  }

  write(bytes) {
    this.#answer?.chunks.push(bytes)
    Atomics.sub(this.scheduler.control, UNSENT, bytes.length)
  }

  finished() {
    const { chunks, resolve } = this.#answer
    this.#answer = null
    resolve(answer(Buffer.concat(chunks)))
  }

  // The engine is gone. Nobody waits for the answer of a job but this.
  reset() {
    Object.assign(this, { requests: [], posted: [], aheadBytes: 0, known: false })
    this.#answer?.resolve({ rows: [], error: 'the engine has stopped' })
    this.#answer = null
  }

  async #tick() {
    if (this.#working || !this.scheduler.up || this.scheduler.waitsForClient) return
    this.#working = true
    try {
      await this.#runDueJobs()
      await this.#vacuum()
    } finally {
      this.#working = false
    }
  }

  #ask(text) {
    return new Promise(resolve => {
      this.#answer = { chunks: [], resolve }
      this.requests.push(query(text))
      this.scheduler.submit(this)
    })
  }

  async #runDueJobs() {
    const { rows } = await this.#ask(JOBS)
    for (const [id, interval, initialStart, unbounded, compresses] of rows) {
      const last = this.#state.lastRuns[id]
      if (Date.now() < (last === undefined ? +initialStart : last + +interval)) continue
      if (unbounded === 't') await this.#ask(ONE_CHUNK_A_RUN(id))
      if (compresses === 't') await this.#compress(id)
      else await this.#run(id)
      this.#save()
    }
  }

  async #run(id) {
    this.#state.lastRuns[id] = Date.now()
    const { error } = await this.#ask(`CALL run_job(${id})`)
    if (error && error !== this.#failures.get(id)) this.log(`job ${id} failed: ${error}`)
    this.#failures.set(id, error)
  }

  // While there is a chunk left to compress, the job is due again at the next tick.
  async #compress(id) {
    const before = await this.#ask(COMPRESSED)
    await this.#run(id)
    const after = await this.#ask(COMPRESSED)
    if (after.rows[0]?.[0] > before.rows[0]?.[0]) delete this.#state.lastRuns[id]
  }

  // There is no autovacuum, and no statistics of what has changed: tables whose size has changed are vacuumed.
  async #vacuum() {
    const due = this.#changedRows > VACUUM_EVERY_ROWS || (this.#changedRows > 0 && Date.now() > this.#lastVacuum + VACUUM_EVERY_MS)
    if (due) {
      this.#changedRows = 0
      this.#lastVacuum = Date.now()
      const { rows } = await this.#ask(TABLE_SIZES)
      const known = this.#state.tableSizes
      this.#state.tableSizes = Object.fromEntries(rows.map(([oid]) => [oid, known[oid]]))
      this.#tablesToVacuum = rows.filter(([oid, , size]) => known[oid] !== size)
    }
    while (this.#tablesToVacuum.length && this.scheduler.idle) {
      const [oid, table, size] = this.#tablesToVacuum.pop()
      await this.#ask(`VACUUM (ANALYZE) ${table}`)
      this.#state.tableSizes[oid] = size
      if (!this.#tablesToVacuum.length) this.#save()
    }
  }

  #save() {
    try {
      fs.writeFileSync(`${this.file}.new`, JSON.stringify(this.#state))
      fs.renameSync(`${this.file}.new`, this.file)
    } catch (error) {
      this.log(`${this.file} could not be written: ${error.message}`)
    }
  }
}
