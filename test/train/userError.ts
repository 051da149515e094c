type ErrorClass = new (...parameters: never[]) => Error

/** Fails unless `body` throws an error of the class, with a message of one line that matches. */
export function throws(body: () => unknown, message: RegExp, type: ErrorClass = Error): void {
  let result: unknown
  try {
    result = body()
  } catch (error) {
    check(error, message, type)
    return
  }
  throw new Error(`nothing thrown (but ${String(result)}), expected ${type.name} ${message}`)
}

/** Fails unless a promise rejects with an error of the class, with a message of one line that matches. */
export async function rejects(promise: Promise<unknown>, message: RegExp, type: ErrorClass = Error): Promise<void> {
  let result: unknown
  try {
    result = await promise
  } catch (error) {
    check(error, message, type)
    return
  }
  throw new Error(`nothing thrown (but ${String(result)}), expected ${type.name} ${message}`)
}

function check(error: unknown, message: RegExp, type: ErrorClass): void {
  if (!(error instanceof type)) throw new Error(`expected ${type.name} ${message}, got ${String(error)}`)
  if (!message.test(error.message)) throw new Error(`expected ${message}, got ${error.message}`)
  if (/[\n\r\u2028\u2029]/.test(error.message)) throw new Error(`more than one line: ${JSON.stringify(error.message)}`)
}
