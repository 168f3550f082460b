import type { SentSms, SmsMessage } from '../message/sms-message.js';
import {
  isRtSmsError,
  RtSmsAbortedError,
  RtSmsAuthError,
  RtSmsValidationError,
  type RtSmsError,
} from '../rt-sms.errors.js';

/** What became of one message of `sendMany`; `index` is its place in the source. */
export type SendResult = { index: number; message: SmsMessage } & (
  { ok: true; sent: SentSms } | { ok: false; error: RtSmsError }
);

/** Sends what `messages` yields, `concurrency` at a time, in the order of completion. */
export async function* sendAll(
  messages: Iterable<SmsMessage> | AsyncIterable<SmsMessage>,
  send: (message: SmsMessage) => Promise<SentSms>,
  { concurrency = 10, signal, account }: { concurrency?: number; signal?: AbortSignal; account: string },
): AsyncGenerator<SendResult, void, undefined> {
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new RtSmsValidationError(['concurrency must be a whole number, 1 or more'], { account });
  }
  const source = Symbol.asyncIterator in messages ? messages[Symbol.asyncIterator]() : messages[Symbol.iterator]();
  const results: SendResult[] = [];
  let index = 0;
  /** Taken from the source and not settled. */
  let pending = 0;
  let pulling = false;
  /** The source has said its last. */
  let exhausted = false;
  let ended = false;
  let failure: unknown;
  let wake: () => void = () => undefined;

  const finish = (error?: unknown) => {
    ended = true;
    failure ??= error;
    wake();
  };
  const start = async (message: SmsMessage, at: number) => {
    pending++;
    try {
      results.push({ index: at, message, ok: true, sent: await send(message) });
    } catch (error) {
      if (!isRtSmsError(error)) finish(error);
      else {
        results.push({ index: at, message, ok: false, error });
        // All that follow would be refused in the same way.
        if (error instanceof RtSmsAuthError) finish(error);
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
      finish(error);
    }
    pulling = false;
  };
  const abort = () =>
    finish(new RtSmsAbortedError('The signal ended sendMany: nothing more was sent', 'not_sent', { account }));
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort);
  try {
    for (;;) {
      void pull();
      const result = results.shift();
      if (result) yield result;
      else if (ended && pending === 0) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    if (failure !== undefined) throw failure;
  } finally {
    ended = true;
    signal?.removeEventListener('abort', abort);
    // Also after a break: what is on its way settles by itself and stays followed. Nobody waits for a source that is itself
    // waiting for its next message, or hides why it ended.
    const closing = exhausted ? undefined : (async () => source.return?.())();
    if (pulling || failure !== undefined) closing?.catch(() => undefined);
    else await closing;
  }
}
