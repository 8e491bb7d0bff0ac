// The data directory: made from a template when it is new, opened, its extension loaded.

import fs from 'node:fs'
import path from 'node:path'
import { createHash } from 'node:crypto'
import { Postgres } from './postgres.mjs'

const DATABASE = 'tallymark'
const HERE = import.meta.dirname

export async function openDatabase(directory, durable, log) {
  const data = path.join(directory, 'data')
  const starting = startLog(log)
  try {
    if (!fs.existsSync(path.join(data, 'PG_VERSION'))) await create(data, durable)
    const postgres = await Postgres.open(data, { database: DATABASE, durable, log: starting.line })
    loadExtension(postgres)
    return postgres
  } catch (error) {
    throw new Error(starting.reason ?? error.message, { cause: error })
  } finally {
    starting.over = true
  }
}

// PostgreSQL's own log. While it starts, the last error is the reason if it fails; later only what is grave is of interest.
function startLog(log) {
  const state = {
    over: false,
    reason: null,
    line(text) {
      const [, level, rest] = /\b(ERROR|FATAL|PANIC): {1,2}(.*)/.exec(text) ?? []
      if (!level || text.startsWith('#')) return
      if (!state.over) state.reason = rest
      if (state.over && level !== 'ERROR') log(`postgres: ${rest}`)
    },
  }
  return state
}

// A kill at any moment leaves either no database or a whole one.
async function create(data, durable) {
  const unfinished = `${data}.new`
  fs.rmSync(unfinished, { recursive: true, force: true })
  const template = await findTemplate()
  if (template) fs.cpSync(template, unfinished, { recursive: true, mode: fs.constants.COPYFILE_FICLONE })
  else await initialize(unfinished)
  if (durable) syncTree(unfinished)
  fs.renameSync(unfinished, data)
  if (durable) syncFile(path.dirname(data))
}

// The template lies beside node_modules, and its name tells which engine made it. Null where that folder can't be written.
async function findTemplate() {
  const lock = fs.readFileSync(path.join(HERE, 'package-lock.json'))
  const template = path.join(HERE, `template-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`)
  if (fs.existsSync(template)) return template
  const unfinished = `${template}.${process.pid}`
  try {
    fs.rmSync(unfinished, { recursive: true, force: true })
    fs.mkdirSync(unfinished)
    await initialize(unfinished)
    fs.renameSync(unfinished, template)
  } catch (error) {
    if (error.code === 'EACCES' || error.code === 'EROFS') return null
    fs.rmSync(unfinished, { recursive: true, force: true })
    if (!fs.existsSync(template)) throw error // else another process was faster
  }
  return template
}

// initdb leaves settings of its own behind in its session, so it gets one of its own.
async function initialize(directory) {
  const options = { durable: false, log: () => {} }
  const first = await Postgres.open(directory, { ...options, database: 'template1' })
  first.query(`CREATE DATABASE ${DATABASE}`)
  await first.close()
  const second = await Postgres.open(directory, { ...options, database: DATABASE })
  loadExtension(second)
  await second.close()
}

// Loaded first of all: else a query over an aggregate of a reopened database ends the process.
function loadExtension(postgres) {
  postgres.query("LOAD 'timescaledb'; LOAD 'plpgsql'")
  postgres.query('CREATE EXTENSION IF NOT EXISTS timescaledb')
}

function syncTree(directory) {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true, recursive: true })) {
    syncFile(path.join(entry.parentPath, entry.name))
  }
  syncFile(directory)
}

function syncFile(name) {
  const fd = fs.openSync(name)
  fs.fsyncSync(fd)
  fs.closeSync(fd)
}
