import { setMaxListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import type { SentSms, SmsMessage } from '../message/sms-message.js';
import { isObject } from '../options/option-rules.js';
import {
  isRtSmsError,
  RtSmsAbortedError,
  RtSmsAuthError,
  RtSmsOverloadedError,
  RtSmsValidationError,
  type RtSmsError,
} from '../rt-sms.errors.js';
import { unknownKeys } from '../unknown-keys.js';

/** Result of one message of `sendMany`. `index` is the position of the message in the source. */
export type SendResult = { index: number; message: SmsMessage } & (
  { ok: true; sent: SentSms } | { ok: false; error: RtSmsError }
);

/** Results between two turns of the event loop. Messages that fail without a request would otherwise block the process. */
const RESULTS_PER_TURN = 50;

interface SendManyOptions {
  concurrency?: number;
  signal?: AbortSignal;
}
const OPTIONS = ['concurrency', 'signal'];

const has = (value: unknown, symbol: symbol) => typeof value === 'object' && value !== null && symbol in value;
/** True for an iterable object; false for a string, which is an iterable of characters. */
export const isIterable = (value: unknown): boolean => has(value, Symbol.iterator);
const isSource = (value: unknown): boolean => isIterable(value) || has(value, Symbol.asyncIterator);

/** Sends the messages of a source, `concurrency` at a time, and yields the results in the order of completion. */
export async function* sendAll(
  messages: Iterable<SmsMessage> | AsyncIterable<SmsMessage>,
  send: (message: SmsMessage) => Promise<SentSms>,
  options: SendManyOptions,
  /** `ending` fires when the shutdown of the application begins. Nothing can be sent afterwards. */
  { ending, account }: { ending?: AbortSignal; account: string },
): AsyncGenerator<SendResult, void, undefined> {
  const problems: string[] = isObject(options) ? unknownKeys(options, OPTIONS) : ['options must be an object'];
  const { concurrency = 10, signal } = options ?? {};
  if (!isSource(messages)) problems.push('messages must be an array or another iterable of messages');
  if (!Number.isInteger(concurrency) || concurrency < 1) problems.push('concurrency must be a whole number, 1 or more');
  if (signal !== undefined && !(signal instanceof AbortSignal)) problems.push('signal must be an AbortSignal');
  if (problems.length > 0) throw new RtSmsValidationError(problems, { account });
  const source = Symbol.asyncIterator in messages ? messages[Symbol.asyncIterator]() : messages[Symbol.iterator]();
  const results: SendResult[] = [];
  let index = 0;
  let yielded = 0;
  /** Number of messages that were read from the source and have not settled. */
  let pending = 0;
  let pulling = false;
  /** True if the source has ended or failed. */
  let exhausted = false;
  let ended = false;
  /** Reason for an end before the end of the source. */
  let failure: { error: unknown } | undefined;
  let wake: () => void = () => undefined;

  const finish = (why?: { error: unknown }) => {
    ended = true;
    failure ??= why;
    wake();
  };
  const start = async (message: SmsMessage, at: number) => {
    pending++;
    try {
      results.push({ index: at, message, ok: true, sent: await send(message) });
    } catch (error) {
      if (!isRtSmsError(error)) finish({ error });
      else {
        results.push({ index: at, message, ok: false, error });
        // The gateway would reject all further messages in the same way.
        if (error instanceof RtSmsAuthError) finish({ error });
      }
    }
    pending--;
    wake();
  };
  /** Reads messages while `concurrency` allows. It runs in the background, so a slow source does not delay results. */
  const pull = async () => {
    if (pulling) return;
    pulling = true;
    try {
      while (!ended && pending + results.length < concurrency) {
        const next = await source.next();
        exhausted = next.done ?? false;
        if (next.done) finish();
        else if (!ended) void start(next.value, index++);
      }
    } catch (error) {
      exhausted = true;
      finish({ error });
    }
    pulling = false;
  };
  const abort = () =>
    finish({
      error: new RtSmsAbortedError("The caller's signal ended sendMany: no further messages were sent", 'not_sent', {
        account,
      }),
    });
  const end = () =>
    finish({
      error: new RtSmsOverloadedError('The application is shutting down: no further messages were sent', { account }),
    });
  if (signal?.aborted) abort();
  if (ending?.aborted) end();
  // Many calls may share a signal. Node would report their listeners as a leak, although each is removed at the end.
  for (const shared of [signal, ending]) if (shared) setMaxListeners(Infinity, shared);
  signal?.addEventListener('abort', abort);
  ending?.addEventListener('abort', end);
  try {
    for (;;) {
      void pull();
      const result = results.shift();
      if (result) {
        if (++yielded % RESULTS_PER_TURN === 0) await setImmediate();
        yield result;
      } else if (ended && pending === 0) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    if (failure) throw failure.error;
  } finally {
    ended = true;
    signal?.removeEventListener('abort', abort);
    ending?.removeEventListener('abort', end);
    // Runs after a break as well: messages in flight settle in the background and stay tracked. It does not wait for a source
    // that is waiting for its next message, and an error of `return` does not replace the reason of the failure.
    const closing = exhausted ? undefined : (async () => source.return?.())();
    if (pulling || failure) closing?.catch(() => undefined);
    else await closing;
  }
}
