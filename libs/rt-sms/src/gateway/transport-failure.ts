/** The reason why a request has no answer. Whether the request may have left is decided by `RequestAttempt.started`. */
export class TransportFailure extends Error {
  constructor(
    message: string,
    /** `overloaded`: the queue for a connection is full. `permanent`: a retry cannot succeed. */
    readonly about: { cause?: unknown; overloaded?: boolean; permanent?: boolean } = {},
  ) {
    super(message, about);
  }
}

/** An error with a code, as Node's own errors have one. */
export const coded = (message: string, code: string): Error & { code: string } =>
  Object.assign(new Error(message), { code });
