// Tallymark's embedded database: TimescaleDB in this process, PostgreSQL's wire protocol on a socket.
// Started by embedded.py, which holds the lock on the directory, binds the socket and passes it on:
//   node server.mjs DIRECTORY LISTENING_FD durable|fast
// It ends on SIGTERM, SIGINT, or when its standard input does, that is, when the process that started it has gone.
// What it prints is for the log, a line for an event; "ready" and "fatal: ..." are understood by embedded.py.

import net from 'node:net'
import path from 'node:path'
import { MessageChannel, Worker } from 'node:worker_threads'
import { Connection } from './connection.mjs'
import { UNSENT, createControl } from './control.mjs'
import { Jobs } from './jobs.mjs'
import { Scheduler } from './scheduler.mjs'

const RESTART_MS = 100
const STARTS = 3 // tries before giving up
const STOP_MS = 10_000
const STACK_MIB = 200 // deep recursion in WebAssembly needs JavaScript's stack, too

const log = line => console.log(line)

class Server {
  control = createControl()
  scheduler = new Scheduler({ control: this.control, log, restart: () => this.worker.terminate() })
  connections = new Map()
  reported = null // what the engine says of itself; null while it is not up
  stopping = false
  failures = 0
  lastId = 0

  constructor(directory, durable) {
    this.directory = directory
    this.durable = durable
    this.jobs = new Jobs(++this.lastId, this.scheduler, { file: path.join(directory, 'jobs.json'), log })
  }

  listen(fd) {
    this.listener = net.createServer(socket => {
      const connection = new Connection(++this.lastId, socket, this)
      this.connections.set(connection.id, connection)
    })
    this.listener.listen({ fd })
  }

  startEngine() {
    this.control.fill(0)
    const { port1: port, port2 } = new MessageChannel()
    const workerData = { directory: this.directory, durable: this.durable, control: this.control, port: port2 }
    this.port = port
    this.worker = new Worker(new URL('./engine.mjs', import.meta.url), {
      workerData, transferList: [port2], resourceLimits: { stackSizeMb: STACK_MIB },
    })
    port.on('message', news => this.#heard(news))
    this.worker.on('error', error => (this.lastError = error.message))
    this.worker.on('exit', () => this.#engineEnded())
  }

  // A connection has said who it is.
  started(connection) {
    if (this.reported) connection.greet(this.reported)
  }

  forget(connection) {
    if (!connection.known) this.connections.delete(connection.id)
  }

  cancel(id, secret) {
    const connection = this.connections.get(id)
    if (connection?.secret === secret && !connection.gone) connection.cancel()
  }

  // Results have left for a socket; the engine may be waiting for that.
  sent(bytes) {
    Atomics.sub(this.control, UNSENT, bytes)
    Atomics.notify(this.control, UNSENT)
  }

  // Rolls back what is open, lets PostgreSQL write its last checkpoint, ends.
  stop() {
    if (this.stopping) return
    this.stopping = true
    this.listener.close()
    setTimeout(() => process.exit(0), STOP_MS) // the next start recovers
    for (const connection of this.connections.values()) connection.end('57P01', 'terminating connection due to administrator command')
    if (this.reported) this.scheduler.stop()
    else process.exit(0)
  }

  #heard(news) {
    if (news.log) return log(news.log)
    if (news.up) return this.#engineUp(news.reported, this.port)
    if (news.stopped) return process.exit(0)
    const client = news.id === this.jobs.id ? this.jobs : this.connections.get(news.id)
    if (news.bytes.length) {
      if (client.gone) this.sent(news.bytes.length)
      else client.write(news.bytes)
    }
    if (news.changedRows && client !== this.jobs) this.jobs.changed(news.changedRows)
    if (news.left) this.connections.delete(news.id)
    this.scheduler.answered(client, news)
  }

  #engineUp(reported, port) {
    this.failures = 0
    this.reported = reported
    log('ready') // before any client knows it
    for (const connection of this.connections.values()) connection.greet(reported)
    this.scheduler.started(port)
  }

  #engineEnded() {
    if (this.stopping) process.exit(0)
    if (!this.reported && ++this.failures === STARTS) {
      log(`fatal: ${this.lastError ?? 'the engine does not start'}`)
      process.exit(1)
    }
    log(`the engine has stopped and is restarted: ${this.lastError ?? 'no reason given'}`)
    this.lastError = null
    this.port.close()
    this.scheduler.stopped()
    this.jobs.reset()
    for (const connection of [...this.connections.values()]) {
      connection.known = false
      if (connection.gone) this.connections.delete(connection.id)
      else if (connection.greeted) connection.end('57P02', 'the embedded database has stopped unexpectedly and is being restarted')
    }
    this.reported = null
    setTimeout(() => this.startEngine(), RESTART_MS)
  }
}

const [directory, fd, mode] = process.argv.slice(2)
const server = new Server(directory, mode === 'durable')
server.startEngine()
server.listen(+fd)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.stop())
process.stdin.resume().on('end', () => server.stop())
process.stdout.on('error', () => {}) // who read it has gone; standard input will end, too
