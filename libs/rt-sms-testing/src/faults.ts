import { type ServerResponse, STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import { type Answer, nginxPage, type Reason, REASONS, refused } from './protocol.js';
import type { Schedule } from './schedule.js';

/**
 * Faults of the connection and of the form of an answer:
 *
 * - `timeout`: the request is read and never answered; the connection stays open
 * - `reset`: RST instead of an answer
 * - `close`: FIN instead of an answer
 * - `html`: 200 with an HTML page
 * - `empty`: 200 with no body
 * - `truncate`: the correct Content-Length, half of the body, then FIN
 * - `drip`: the correct answer, one byte of the body every 100 ms
 * - `http10`: the correct answer in HTTP/1.0, without Content-Length, ended by FIN
 */
export const TRANSPORT_FAULTS = ['timeout', 'reset', 'close', 'html', 'empty', 'truncate', 'drip', 'http10'] as const;
/** A fault of the connection or of the form of an answer. */
export type TransportFault = (typeof TRANSPORT_FAULTS)[number];

/** A fault with its details. */
export interface FaultDetails {
  /** A reason of §1.6.1 or a transport fault. */
  readonly fault?: Reason | TransportFault;
  /** HTTP status of the answer, 200 to 599, in place of `fault`. */
  readonly status?: number;
  /** Body of the answer with `status`; by default the page of nginx for that status. */
  readonly body?: string;
  /** Further headers of the answer with `status`, e.g. `{ location: '…' }`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds by which the answer, or the fault in its place, is delayed. @default 0 */
  readonly delayMs?: number;
  /**
   * Processes the request in spite of the fault: the message is saved and gets statuses and callbacks, but the client
   * sees the fault. @default true for `truncate`, `drip`, `http10` and a delay alone (they carry the real answer),
   * false for the others
   */
  readonly accepted?: boolean;
}

/** One fault: its name, or its details (`{ status: 503 }`, `{ delayMs: 500 }`, `{ fault: 'reset', accepted: true }`). */
export type Fault = Reason | TransportFault | FaultDetails;

/** A fault with its defaults filled in. */
export interface FaultPlan extends FaultDetails {
  readonly delayMs: number;
  readonly accepted: boolean;
}

const DETAILS = new Set(['fault', 'status', 'body', 'headers', 'delayMs', 'accepted']);
const CARRIERS = new Set<string | undefined>(['truncate', 'drip', 'http10']);
const DRIP_MS = 100;

/** @throws TypeError that names the problem with the fault */
export function planFault(fault: Fault): FaultPlan {
  const input: FaultDetails = typeof fault === 'string' ? { fault } : fault;
  const problem = problemOf(input);
  if (problem !== undefined) throw new TypeError(`Not a fault: ${JSON.stringify(fault)}: ${problem}`);
  const carriesAnswer = input.status === undefined && (input.fault === undefined || CARRIERS.has(input.fault));
  if (carriesAnswer && input.accepted === false) {
    throw new TypeError(
      `Not a fault: ${JSON.stringify(fault)}: it carries the real answer, so the message cannot be unaccepted. Fix: leave out "accepted"`,
    );
  }
  return { ...input, delayMs: input.delayMs ?? 0, accepted: input.accepted ?? carriesAnswer };
}

function problemOf(input: FaultDetails): string | undefined {
  const { fault, status, body, headers, delayMs } = input;
  const unknown = Object.keys(input).find((key) => !DETAILS.has(key));
  if (unknown !== undefined) return `unknown key "${unknown}"`;
  if (fault !== undefined && !isReason(fault) && !TRANSPORT_FAULTS.includes(fault)) {
    return `expected one of ${[...REASONS, ...TRANSPORT_FAULTS].join(', ')}`;
  }
  if (fault !== undefined && status !== undefined) return 'give either fault or status, not both';
  if (status !== undefined && !(Number.isInteger(status) && status >= 200 && status <= 599)) {
    return 'status must be from 200 to 599';
  }
  if (status === undefined && (body !== undefined || headers !== undefined)) return 'body and headers need a status';
  try {
    for (const [name, value] of Object.entries(headers ?? {})) {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    }
  } catch (error) {
    return `headers: ${String(error)}`;
  }
  if (delayMs !== undefined && !(delayMs >= 0 && delayMs < Infinity)) return 'delayMs must be 0 or more';
  if (fault === undefined && status === undefined && delayMs === undefined) return 'fault, status or delayMs is needed';
  return undefined;
}

/** Faults that are set for the next requests. */
export class FaultQueue {
  #queue: { readonly plan: FaultPlan; times: number }[] = [];

  add(fault: Fault, times: number): void {
    if (!(times === Infinity || (Number.isInteger(times) && times > 0))) {
      throw new TypeError(`times must be a whole number greater than 0, or Infinity, not ${times}`);
    }
    this.#queue.push({ plan: planFault(fault), times });
  }

  take(): FaultPlan | undefined {
    const next = this.#queue[0];
    if (next && --next.times <= 0) this.#queue.shift();
    return next?.plan;
  }

  /** Faults that have not been played yet; `times` is null if a fault never ends. */
  get pending(): { readonly fault: FaultPlan; readonly times: number | null }[] {
    return this.#queue.map(({ plan, times }) => ({ fault: plan, times: times === Infinity ? null : times }));
  }

  clear(): void {
    this.#queue = [];
  }
}

/** The answer that the fault defines, `undefined` if it defines none. */
export function faultAnswer(plan: FaultPlan): Answer | undefined {
  const { fault, status, body } = plan;
  if (status !== undefined) {
    const page = status === 204 || status === 304 ? { ...nginxPage(status), body: '' } : nginxPage(status);
    if (body === undefined) return page;
    return { status, body, type: body.startsWith('{') ? 'application/json; charset=utf-8' : 'text/html' };
  }
  if (fault === 'html') return nginxPage(200);
  if (fault === 'empty') return { status: 200, type: 'text/html', body: '' };
  return isReason(fault) ? refused(fault) : undefined;
}

/**
 * Plays a fault of the connection. Returns false for any other fault: the caller then writes the answer.
 *
 * @param head headers of the answer, flat: name, value, name, value
 */
export function playFault(
  plan: FaultPlan,
  response: ServerResponse,
  answer: Answer,
  head: readonly string[],
  schedule: Schedule,
): boolean {
  const { socket } = response;
  switch (plan.fault) {
    case 'timeout':
      return true;
    case 'reset':
      socket?.resetAndDestroy();
      return true;
    case 'close':
      socket?.destroySoon();
      return true;
    case 'truncate':
      response.writeHead(answer.status, [...head]);
      response.write(Buffer.from(answer.body).subarray(0, Buffer.byteLength(answer.body) >> 1), () =>
        socket?.destroySoon(),
      );
      return true;
    case 'drip':
      response.writeHead(answer.status, [...head]);
      response.flushHeaders();
      drip(response, Buffer.from(answer.body), schedule);
      return true;
    case 'http10':
      socket?.write(http10Answer(answer, head));
      socket?.destroySoon();
      return true;
    default:
      return false;
  }
}

function drip(response: ServerResponse, rest: Buffer, schedule: Schedule): void {
  schedule.after(DRIP_MS, () => {
    if (response.destroyed) return;
    if (rest.length <= 1) response.end(rest);
    else {
      response.write(rest.subarray(0, 1));
      drip(response, rest.subarray(1), schedule);
    }
  });
}

function http10Answer(answer: Answer, head: readonly string[]): string {
  const lines = [`HTTP/1.0 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`];
  for (let n = 0; n < head.length; n += 2) {
    const name = head[n];
    if (name !== 'Content-Length' && name !== 'Connection') lines.push(`${name}: ${head[n + 1]}`);
  }
  return `${lines.join('\r\n')}\r\nConnection: close\r\n\r\n${answer.body}`;
}

function isReason(fault: string | undefined): fault is Reason {
  return (REASONS as readonly (string | undefined)[]).includes(fault);
}
