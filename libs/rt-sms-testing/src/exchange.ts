import type { FaultDetails } from './faults.js';

/** One request and its answer, for display. */
export interface SimulatedExchange {
  /** Time of the answer. */
  readonly at: Date;
  /** Method of the request. */
  readonly method: string;
  /** Path of the request, with its query. */
  readonly path: string;
  /** Address of the client. */
  readonly from: string;
  /** Headers of the request as received, flat (name, value, name, value), with credentials masked. */
  readonly requestHeaders: readonly string[];
  /** Body of the request as received, with any password in it masked. */
  readonly requestBody: string;
  /** HTTP status of the answer, `undefined` if a fault prevented the answer. */
  readonly status: number | undefined;
  /** Headers of the answer, flat, without those that Node added. */
  readonly responseHeaders: readonly string[] | undefined;
  /** Body of the answer as sent, `undefined` if there was none. */
  readonly responseBody: string | undefined;
  /** `X-Request-Id` of the answer. */
  readonly requestId: string;
  /** Uid of the message that was accepted or requested. */
  readonly uid: string | undefined;
  /** The fault that was played. */
  readonly fault: FaultDetails | undefined;
}

export function maskPassword(body: string): string {
  return body.includes('"pass"') ? body.replace(/("pass"\s*:\s*")(?:[^"\\]|\\.)*/g, '$1***') : body;
}

/** Compares lengths before it matches names, because it runs for every request. */
export function maskCredentials(headers: readonly string[]): readonly string[] {
  let shown = headers;
  for (let n = 0; n < headers.length; n += 2) {
    const name = headers[n] ?? '';
    if ((name.length !== 13 && name.length !== 19) || !/^(?:proxy-)?authorization$/i.test(name)) continue;
    shown = shown.with(n + 1, '***');
  }
  return shown;
}
