/**
 * Why there is no answer. Whether the request may have been sent is not said here but by `Exchange.started`:
 * error codes cannot tell (a reset in the TLS handshake and one after the request look the same), the phase can.
 */
export class TransportFailure extends Error {
  constructor(
    message: string,
    /** `overloaded`: there was no room for it. `permanent`: it will not mend itself. */
    readonly about: { cause?: unknown; overloaded?: boolean; permanent?: boolean } = {},
  ) {
    super(message, about);
  }
}

/** An error of our own with a code, as those of Node have one. */
export const coded = (message: string, code: string): Error & { code: string } =>
  Object.assign(new Error(message), { code });
