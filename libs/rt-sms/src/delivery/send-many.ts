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

/** What became of one message of `sendMany`; `index` is its place in the source. */
export type SendResult = { index: number; message: SmsMessage } & (
  { ok: true; sent: SentSms } | { ok: false; error: RtSmsError }
);

/** Messages that fail without a request would otherwise keep the process from all else. */
const RESULTS_PER_TURN = 50;

interface SendManyOptions {
  concurrency?: number;
  signal?: AbortSignal;
}
const OPTIONS = ['concurrency', 'signal'];

const has = (value: unknown, symbol: symbol) => typeof value === 'object' && value !== null && symbol in value;
/** Not so a string, though it is one of characters. */
export const isIterable = (value: unknown): boolean => has(value, Symbol.iterator);
const isSource = (value: unknown): boolean => isIterable(value) || has(value, Symbol.asyncIterator);

/** Sends what `messages` yields, `concurrency` at a time, in the order of completion. */
export async function* sendAll(
  messages: Iterable<SmsMessage> | AsyncIterable<SmsMessage>,
  send: (message: SmsMessage) => Promise<SentSms>,
  options: SendManyOptions,
  /** `ending` is the end of the application: from then on nothing can be sent. */
  { ending, account }: { ending?: AbortSignal; account: string },
): AsyncGenerator<SendResult, void, undefined> {
  const problems: string[] = isObject(options) ? unknownKeys(options, OPTIONS) : ['options must be an object'];
  const { concurrency = 10, signal } = options ?? {};
  if (!isSource(messages)) problems.push('messages must be an array, or another iterable, of messages');
  if (!Number.isInteger(concurrency) || concurrency < 1) problems.push('concurrency must be a whole number, 1 or more');
  if (signal !== undefined && !(signal instanceof AbortSignal)) problems.push('signal must be an AbortSignal');
  if (problems.length > 0) throw new RtSmsValidationError(problems, { account });
  const source = Symbol.asyncIterator in messages ? messages[Symbol.asyncIterator]() : messages[Symbol.iterator]();
  const results: SendResult[] = [];
  let index = 0;
  let yielded = 0;
  /** Taken from the source and not settled. */
  let pending = 0;
  let pulling = false;
  /** The source has said its last. */
  let exhausted = false;
  let ended = false;
  /** Why it ended, if not because the source did. */
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
        // All that follow would be refused in the same way.
        if (error instanceof RtSmsAuthError) finish({ error });
      }
    }
    pending--;
    wake();
  };
  /** Takes one message after the other while there is room; a slow source holds up no result. */
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
      error: new RtSmsAbortedError('The signal ended sendMany: nothing more was sent', 'not_sent', { account }),
    });
  const end = () =>
    finish({ error: new RtSmsOverloadedError('The application ends: nothing more was sent', { account }) });
  if (signal?.aborted) abort();
  if (ending?.aborted) end();
  // Many calls may share them; that each has a listener while it lasts is no leak to warn of.
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
    // Also after a break: what is on its way settles by itself and stays followed. Nobody waits for a source that is itself
    // waiting for its next message, or hides why it ended.
    const closing = exhausted ? undefined : (async () => source.return?.())();
    if (pulling || failure) closing?.catch(() => undefined);
    else await closing;
  }
}
