// Sends the requests of a file in turn, over and over, for some seconds, and awaits the last answers:
//     node send.mjs PORT CONNECTIONS FILE SECONDS
// Prints a line of JSON. Used where there is no wrk; it reads only answers with a Content-Length.

import { readFileSync } from 'node:fs'
import net from 'node:net'

const [port, connections, file, seconds] = process.argv.slice(2)
const HEAD_END = '\r\n\r\n'

const requests = []
const bytes = readFileSync(file)
for (let at = 0; at < bytes.length;) {
    const lineEnd = bytes.indexOf(10, at)
    const end = lineEnd + 1 + Number(bytes.latin1Slice(at, lineEnd))
    requests.push(bytes.subarray(lineEnd + 1, end))
    at = end
}

const milliseconds = []
let sent = 0, refused = 0, failed = 0, open = Number(connections), elapsed = 0
const started = performance.now()

class Connection {
    constructor() {
        this.answer = ''
        this.socket = net.connect({ port: Number(port), host: '127.0.0.1', noDelay: true })
        this.socket.on('connect', () => this.send())
        this.socket.on('data', (data) => this.read(data))
        this.socket.on('error', () => {})
        this.socket.on('close', () => this.closed())
    }

    send() {
        this.since = performance.now()
        if (this.since - started >= seconds * 1000) {
            elapsed = this.since - started
            this.done = true
            this.socket.end()
            return
        }
        this.socket.write(requests[sent % requests.length])
        sent += 1
    }

    read(data) {
        this.answer += data.latin1Slice()
        const headEnd = this.answer.indexOf(HEAD_END)
        if (headEnd < 0) return
        const length = /\r\ncontent-length: *(\d+)/i.exec(this.answer)
        if (this.answer.length < headEnd + HEAD_END.length + Number(length?.[1] ?? 0)) return
        milliseconds.push(performance.now() - this.since)
        if (Number(this.answer.slice(9, 12)) > 399) refused += 1
        this.answer = ''
        this.send()
    }

    closed() {
        if (!this.done) {
            failed += 1
            if (performance.now() - started < seconds * 1000) {
                setTimeout(() => new Connection(), 10)
                return
            }
        }
        open -= 1
        if (open === 0) report()
    }
}

function report() {
    const sorted = Float64Array.from(milliseconds).sort()
    const percentile = (part) => sorted[Math.max(0, Math.ceil(sorted.length * part / 100) - 1)] ?? 0
    console.log(JSON.stringify({
        sent,
        answered: milliseconds.length,
        refused,
        failed,
        seconds: elapsed / 1000,
        p50_ms: percentile(50),
        p99_ms: percentile(99),
    }))
}

for (let number = 0; number < connections; number += 1) new Connection()
