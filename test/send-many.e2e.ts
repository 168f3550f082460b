import { Module } from '@nestjs/common';
import { EventEmitterModule } from '@nestjs/event-emitter';
import {
  RtSmsAbortedError,
  RtSmsAuthError,
  RtSmsModule,
  RtSmsOverloadedError,
  RtSmsService,
  RtSmsValidationError,
  type RtSmsOptions,
  type SendResult,
  type SmsMessage,
} from 'nestjs-rt-sms';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { later, mostInASecond, starts, warmUp } from './engine-conformance.js';
import { atEnd, start } from './platforms.js';

const SECRET = 'a-secret-of-sixteen';

async function account(given: Partial<RtSmsOptions> = {}, simulator: RtSmsSimulatorOptions = {}) {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, ...simulator });
  atEnd(() => gateway.close());
  const options = { ...gateway.options, shortcode: 'SHOP', callback: { secrets: SECRET }, ...given };
  @Module({ imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot(options)] })
  class AppModule {}
  const { app } = await start('fastify', { imports: [AppModule] });
  const startedAt = starts(gateway.url);
  return { app, sms: app.get(RtSmsService), gateway, startedAt };
}

/** A source that counts the rows taken from it, and records whether it was closed. */
function source(count: number, row: (n: number) => SmsMessage = (n) => ({ msisdn: '79270000001', text: `${n}` })) {
  const state = { pulled: 0, closed: 0 };
  function* rows() {
    try {
      for (let n = 0; n < count; n++) {
        state.pulled++;
        yield row(n);
      }
    } finally {
      state.closed++;
    }
  }
  return Object.assign(state, { rows });
}
async function all(results: AsyncIterable<SendResult>): Promise<{ results: SendResult[]; error: unknown }> {
  const seen: SendResult[] = [];
  try {
    for await (const result of results) seen.push(result);
  } catch (error) {
    return { results: seen, error };
  }
  return { results: seen, error: undefined };
}

describe('sendMany', () => {
  it('reads at most `concurrency` rows ahead of the reader of the results', async () => {
    const { sms } = await account();
    const rows = source(100);
    let read = 0;
    let ahead = 0;
    for await (const result of sms.sendMany(rows.rows(), { concurrency: 7 })) {
      expect(result.ok).toBe(true);
      read++;
      // A slow reader makes the source wait.
      if (read % 10 === 0) await later(50);
      ahead = Math.max(ahead, rows.pulled - read);
    }
    expect(read).toBe(100);
    expect(ahead).toBe(7);
  });

  it('has `concurrency` messages in flight at once, 10 by default', async () => {
    const { sms, gateway } = await account({ connections: 50 }, { latencyMs: 300 });
    let now = 0;
    let most = 0;
    gateway.on('message', () => (most = Math.max(most, ++now)));
    gateway.on('exchange', () => now--);
    await all(sms.sendMany(source(60).rows()));
    expect(most).toBe(10);
    most = 0;
    await all(sms.sendMany(source(60).rows(), { concurrency: 25 }));
    expect(most).toBe(25);
  });

  it('takes arrays, generators and async generators', async () => {
    const { sms } = await account();
    async function* rows() {
      yield* source(3).rows();
    }
    for (const messages of [[...source(3).rows()], source(3).rows(), rows()]) {
      const { results } = await all(sms.sendMany(messages));
      expect(results.map(({ index, message, ok }) => [index, message.text, ok])).toEqual([
        [0, '0', true],
        [1, '1', true],
        [2, '2', true],
      ]);
    }
    await expect(all(sms.sendMany([]))).resolves.toEqual({ results: [], error: undefined });
  });

  it('yields results in the order of completion, each with its index in the source', async () => {
    const { sms, gateway } = await account();
    gateway.nextSend({ delayMs: 2_000 });
    const { results } = await all(sms.sendMany(source(10).rows(), { concurrency: 2 }));
    // Either of the first two POSTs may arrive first; that one is answered last.
    const slow = results.at(-1)!.index;
    expect([0, 1]).toContain(slow);
    expect(results.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(results.every(({ index, message }) => message.text === String(index))).toBe(true);
  });

  it('a slow source does not delay results', async () => {
    const { sms } = await account();
    let go = () => undefined as void;
    async function* rows() {
      yield { msisdn: '79270000001', text: '0' };
      await new Promise<void>((resolve) => (go = resolve));
      yield { msisdn: '79270000001', text: '1' };
    }
    const results = sms.sendMany(rows())[Symbol.asyncIterator]();
    await expect(results.next()).resolves.toMatchObject({ value: { index: 0 } });
    go();
    await expect(results.next()).resolves.toMatchObject({ value: { index: 1 } });
    await expect(results.next()).resolves.toMatchObject({ done: true });
  });

  it('does not stop at a failed message, regardless of the failure', async () => {
    const { sms, gateway } = await account({ timeouts: { sendMs: 2_000 }, retry: { send: 0 } });
    const numbers = ['79990000011', '79990000015', '79990000022', '79990000020', '79990000024'];
    const bad = [undefined, null, {}, { msisdn: 'nobody', text: 'x' }, { msisdn: '79270000001', text: '' }];
    const rows = [
      ...numbers.map((msisdn) => ({ msisdn, text: 'Hello' })),
      ...(bad as unknown as SmsMessage[]),
      { msisdn: '79270000001', text: 'Hello' },
    ];
    const { results, error } = await all(sms.sendMany(rows, { concurrency: 3 }));
    expect(error).toBeUndefined();
    const outcome = new Map(results.map((result) => [result.index, result.ok ? 'sent' : result.error.outcome]));
    expect([...outcome].toSorted(([a], [b]) => a - b).map(([, each]) => each)).toEqual([
      'rejected',
      'rejected',
      'unknown',
      'unknown',
      'unknown',
      ...bad.map(() => 'not_sent'),
      'sent',
    ]);
    expect(gateway.requests.post).toBe(6);
  });

  describe('rate', () => {
    it('keeps the rate', async () => {
      const { sms, startedAt } = await account({ rate: { perSecond: 20 } });
      await warmUp(sms, startedAt);
      await all(sms.sendMany(source(50).rows()));
      expect(startedAt).toHaveLength(50);
      expect(mostInASecond(startedAt)).toBeLessThanOrEqual(20);
    });
  });

  it('after `break` nothing new starts, the source is closed, and messages in flight settle and stay tracked', async () => {
    const { sms, gateway } = await account({}, { latencyMs: 50 });
    const rows = source(1_000);
    for await (const result of sms.sendMany(rows.rows(), { concurrency: 5 })) {
      expect(result.ok).toBe(true);
      break;
    }
    expect(rows.closed).toBe(1);
    const { pulled } = rows;
    expect(pulled).toBeLessThanOrEqual(6);
    await gateway.waitForMessage(() => gateway.messages.length >= pulled);
    await later(300);
    expect(rows.pulled).toBe(pulled);
    expect(gateway.messages).toHaveLength(pulled);
    for (const { uid } of gateway.messages) {
      await sms.handleCallback({ id: uid, status: 'delivered' }, { secret: SECRET });
      await expect(sms.waitForFinal(uid)).resolves.toMatchObject({ status: 'delivered' });
    }
    expect(gateway.requests.get).toBe(0);
  });

  it('after an abort nothing new starts; the results in flight come, then RtSmsAbortedError', async () => {
    const { sms, gateway } = await account({}, { latencyMs: 100 });
    const rows = source(1_000);
    const abort = new AbortController();
    void gateway.waitForMessage(({ text }) => text === '7').then(() => abort.abort());
    const { results, error } = await all(sms.sendMany(rows.rows(), { concurrency: 5, signal: abort.signal }));
    expect(error).toBeInstanceOf(RtSmsAbortedError);
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect(results).toHaveLength(gateway.messages.length);
    expect(gateway.messages.length).toBeLessThanOrEqual(13);
    expect(rows.closed).toBe(1);
    const { results: none, error: at_once } = await all(
      sms.sendMany(source(3).rows(), { signal: AbortSignal.abort() }),
    );
    expect([none, at_once]).toEqual([[], expect.any(RtSmsAbortedError)]);
  });

  it('an abort does not wait for a source that is itself waiting', async () => {
    const { sms } = await account();
    async function* rows() {
      yield { msisdn: '79270000001', text: 'Hello' };
      await new Promise(() => undefined);
    }
    const abort = new AbortController();
    const results = sms.sendMany(rows(), { signal: abort.signal })[Symbol.asyncIterator]();
    await results.next();
    abort.abort();
    await expect(results.next()).rejects.toBeInstanceOf(RtSmsAbortedError);
  });

  it('an error of the source comes after the results in flight', async () => {
    const { sms, gateway } = await account({}, { latencyMs: 50 });
    const failure = new Error('the table is gone');
    function* rows() {
      yield* source(3).rows();
      throw failure;
    }
    const { results, error } = await all(sms.sendMany(rows()));
    expect(error).toBe(failure);
    expect(results).toHaveLength(3);
    expect(gateway.messages).toHaveLength(3);
  });

  it.each(['wrong_ip', 'wrong_credentials', 'auth_required'] as const)(
    '%s starts nothing more, and ends with that error after the results in flight',
    async (reason) => {
      const { sms, gateway } = await account({}, { latencyMs: 20 });
      gateway.nextSend(reason, Infinity);
      const rows = source(1_000);
      const { results, error } = await all(sms.sendMany(rows.rows(), { concurrency: 4 }));
      expect(error).toBeInstanceOf(RtSmsAuthError);
      expect(results.map((result) => !result.ok && result.error.code)).toEqual(results.map(() => 'RT_SMS_AUTH'));
      expect(results).toHaveLength(gateway.requests.post);
      expect(gateway.requests.post).toBeLessThanOrEqual(4);
      expect(rows.closed).toBe(1);
    },
  );

  it('rejects with the value that the source throws, even if it is undefined', async () => {
    const { sms } = await account();
    async function* rows() {
      yield* source(1).rows();
      await Promise.reject();
    }
    const results = sms.sendMany(rows())[Symbol.asyncIterator]();
    await expect(results.next()).resolves.toMatchObject({ value: { ok: true } });
    await expect(results.next()).rejects.toBeUndefined();
  });

  it('does not block the event loop, even if no message needs a request', async () => {
    const { sms } = await account();
    let ticks = 0;
    const abort = new AbortController();
    const ticking = setInterval(() => ++ticks > 2 && abort.abort(), 1);
    const rows = source(Infinity, () => ({ msisdn: 'nobody', text: '' }));
    let count = 0;
    const reading = (async () => {
      for await (const { ok } of sms.sendMany(rows.rows(), { signal: abort.signal })) {
        expect(ok).toBe(false);
        // If the event loop were blocked, nothing else would end the test.
        if (++count > 100_000) return;
      }
    })();
    await expect(reading).rejects.toBeInstanceOf(RtSmsAbortedError);
    clearInterval(ticking);
  });

  it('stops reading the source during shutdown', async () => {
    const { app, sms, gateway } = await account({}, { latencyMs: 20 });
    const rows = source(20_000);
    const sending = all(sms.sendMany(rows.rows(), { concurrency: 5 }));
    await new Promise((resolve) => gateway.once('exchange', resolve));
    await app.close();
    const { results, error } = await sending;
    expect(error).toBeInstanceOf(RtSmsOverloadedError);
    expect(rows.pulled).toBe(results.length);
    expect(rows.closed).toBe(1);
    expect(results.filter(({ ok }) => !ok).length).toBeLessThanOrEqual(5);
    const after = source(3);
    expect((await all(sms.sendMany(after.rows()))).error).toBeInstanceOf(RtSmsOverloadedError);
    expect(after.pulled).toBe(0);
  });

  it.each([undefined, null, 7, 'abc', {}])('messages that are %p are rejected', async (messages) => {
    const { sms } = await account();
    const { error } = await all(sms.sendMany(messages as SmsMessage[]));
    expect((error as RtSmsValidationError).problems).toEqual([expect.stringMatching(/^messages must be an array/)]);
  });

  it('an invalid signal is rejected', async () => {
    const { sms } = await account();
    const { error } = await all(sms.sendMany([], { signal: {} as AbortSignal }));
    expect((error as RtSmsValidationError).problems).toEqual(['signal must be an AbortSignal']);
  });

  it.each([0, -1, 1.5, Number.NaN])('a concurrency of %d is rejected', async (concurrency) => {
    const { sms, gateway } = await account();
    const { error } = await all(sms.sendMany(source(3).rows(), { concurrency }));
    expect(error).toBeInstanceOf(RtSmsValidationError);
    expect(gateway.requests.post).toBe(0);
  });

  it('a source is not closed a second time when it has ended or failed by itself', async () => {
    const { sms } = await account();
    let returned = 0;
    const iterable = (end: () => IteratorResult<SmsMessage>) => ({
      [Symbol.iterator]: () => ({
        next: end,
        return: () => {
          returned++;
          return { done: true as const, value: undefined };
        },
      }),
    });
    await all(sms.sendMany(iterable(() => ({ done: true, value: undefined }))));
    await all(
      sms.sendMany(
        iterable(() => {
          throw new Error('gone');
        }),
      ),
    );
    expect(returned).toBe(0);
  });
});
