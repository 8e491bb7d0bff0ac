// PostgreSQL's wire protocol, version 3: building messages and taking them apart.
// Names are those of the chapter "Message Formats" in PostgreSQL's documentation.

const code = letter => letter.charCodeAt(0)

export const FRONTEND = {
  Bind: code('B'), Close: code('C'), CopyData: code('d'), CopyDone: code('c'), CopyFail: code('f'),
  Describe: code('D'), Execute: code('E'), Flush: code('H'), FunctionCall: code('F'),
  Parse: code('P'), Query: code('Q'), Sync: code('S'), Terminate: code('X'),
}
export const BACKEND = {
  CommandComplete: code('C'), DataRow: code('D'), ErrorResponse: code('E'), NoticeResponse: code('N'),
  NotificationResponse: code('A'), ReadyForQuery: code('Z'),
}
export const STATUS = { Idle: code('I'), InTransaction: code('T'), Failed: code('E') }

// Strings among the parts get the closing zero that the protocol asks for; buffers are taken as they are.
export function message(type, ...parts) {
  const body = Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part + '\0') : part)))
  const result = Buffer.allocUnsafe(body.length + 5)
  result[0] = code(type)
  result.writeInt32BE(body.length + 4, 1)
  body.copy(result, 5)
  return result
}

export function int32(...numbers) {
  const result = Buffer.alloc(4 * numbers.length)
  numbers.forEach((number, i) => result.writeInt32BE(number, 4 * i))
  return result
}

export const NO_PARAMETERS = Buffer.alloc(2)
export const query = text => message('Q', text)
export const parse = (name, text, rest = NO_PARAMETERS) => message('P', name, text, rest)
export const closeStatement = name => message('C', Buffer.from('S'), name)
export const copyFail = reason => message('f', reason)
export const sync = message('S')
export const terminate = message('X')
export const readyForQuery = status => message('Z', Buffer.from([status]))
export const parameterStatus = (name, value) => message('S', name, value)
export const errorResponse = (severity, sqlstate, text) =>
  message('E', 'S' + severity, 'V' + severity, 'C' + sqlstate, 'M' + text, Buffer.from([0]))

// The string at an offset, and the offset behind it.
export function cstring(buffer, offset) {
  const end = buffer.indexOf(0, offset)
  return [buffer.toString('utf8', offset, end), end + 1]
}

export function* messages(buffer) {
  for (let offset = 0; offset < buffer.length; ) {
    const end = offset + 1 + buffer.readInt32BE(offset + 1)
    yield buffer.subarray(offset, end)
    offset = end
  }
}

function dataRow(bytes) {
  const row = []
  let offset = 7
  for (let column = bytes.readInt16BE(5); column > 0; column--) {
    const length = bytes.readInt32BE(offset)
    offset += 4
    row.push(length < 0 ? null : bytes.toString('utf8', offset, offset + length))
    offset += Math.max(length, 0)
  }
  return row
}

function errorText(bytes) {
  const fields = {}
  for (const field of bytes.toString('utf8', 5).split('\0')) fields[field[0]] ??= field.slice(1)
  return `${fields.C}: ${fields.M}`
}

// What a server answered to statements of our own: the rows as text, and its first error.
export function answer(buffer) {
  const rows = []
  let error
  for (const bytes of messages(buffer)) {
    if (bytes[0] === BACKEND.DataRow) rows.push(dataRow(bytes))
    else if (bytes[0] === BACKEND.ErrorResponse) error ??= errorText(bytes)
  }
  return { rows, error }
}
