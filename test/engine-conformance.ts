import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Module, type INestApplication } from '@nestjs/common';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import {
  getRtSmsToken,
  RtSmsModule,
  RtSmsOverloadedError,
  RtSmsService,
  RtSmsValidationError,
  type RtSmsError,
  type RtSmsOptions,
  type SmsEngineFactory,
} from 'nestjs-rt-sms';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { atEnd, start } from './platforms.js';
import { lateBy } from './timing.js';

/** Settings of the engine for one test. */
export interface EngineSetting {
  /** A prefix or schema for the engine's data, unique for each test. */
  key: string;
}

/** Properties in which engines may differ. */
export interface EngineTraits {
  /** True if the queue ends with the process: it is bounded by `engineLimit`, and shutdown refuses unsent messages. */
  inProcess?: boolean;
}

/** An event of the module as a listener received it. */
export interface Seen {
  event: string;
  id: string;
  uid?: string;
  ref?: string;
  account: string;
  status?: string;
  lastStatus?: string;
  overdueAfterMs?: number;
  error?: RtSmsError;
}

export const SECRET = 'a-secret-of-sixteen';
const OUTCOMES = ['accepted', 'refused', 'outcome-unknown', 'expired', 'cancelled'].map((name) => `rt-sms.${name}`);
const MSISDN = '79270000001';
const hello = { msisdn: MSISDN, text: 'Hello' };

export interface Running {
  app: INestApplication;
  sms: RtSmsService;
  gateway: RtSmsSimulator;
  /** All events so far, in order. */
  events: Seen[];
  /** Times at which the gateway received messages, in milliseconds. */
  startedAt: number[];
  /** Names of the outcome events of an id, without `rt-sms.`. */
  outcomes(id: string): string[];
  /** Resolves when `test` is true; it is checked at each event of the application and each exchange of the gateway. */
  until(test: () => boolean): Promise<void>;
  settled(...ids: string[]): Promise<void>;
}

let tests = 0;

/** An application with one account on a simulated gateway whose statuses are set by the test. */
export async function runEngine(
  engine: (setting: EngineSetting) => SmsEngineFactory | undefined,
  given: Partial<RtSmsOptions> = {},
  simulator: RtSmsSimulatorOptions = {},
  others: readonly string[] = [],
): Promise<Running> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, ...simulator });
  atEnd(() => gateway.close());
  const factory = engine({ key: `conformance-${process.pid}-${++tests}` });
  const options: RtSmsOptions = {
    ...gateway.options,
    shortcode: 'SHOP',
    callback: { secrets: SECRET },
    ...(factory && { engine: factory }),
    ...given,
  };
  @Module({
    imports: [
      EventEmitterModule.forRoot(),
      RtSmsModule.forRoot(options),
      ...others.map((name) => RtSmsModule.forRoot({ ...options, name })),
    ],
  })
  class AppModule {}
  const events: Seen[] = [];
  const startedAt = starts(gateway.url);
  const waiting = new Set<() => void>();
  const look = () => {
    for (const waiter of waiting) waiter();
  };
  gateway.on('exchange', look);
  const { app, url } = await start('express', { imports: [AppModule] }, (application) => {
    application.get(EventEmitter2).onAny((event, payload) => {
      events.push({ event: String(event), ...(payload as Omit<Seen, 'event'>) });
      look();
    });
  });
  gateway.callTo(`${url}/rt-sms/callback/${SECRET}`);
  const outcomes = (id: string) =>
    events.filter((seen) => seen.id === id && OUTCOMES.includes(seen.event)).map(({ event }) => event.slice(7));
  const until = (test: () => boolean) =>
    new Promise<void>((resolve) => {
      const waiter = () => {
        if (!test()) return;
        waiting.delete(waiter);
        resolve();
      };
      waiting.add(waiter);
      waiter();
    });
  return {
    app,
    sms: app.get(RtSmsService),
    gateway,
    events,
    startedAt,
    outcomes,
    until,
    settled: (...ids) => until(() => ids.every((id) => outcomes(id).length > 0)),
  };
}

export const later = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
/** Times at which POSTs to `url` start to be written. Arrival times would include the transport, which the rate excludes. */
export function starts(url: string): number[] {
  const times: number[] = [];
  const onHeaders = (message: unknown) => {
    const { request } = message as { request: { method: string; origin: string | URL } };
    if (request.method === 'POST' && String(request.origin) === new URL(url).origin) times.push(performance.now());
  };
  subscribe('undici:client:sendHeaders', onHeaders);
  atEnd(() => unsubscribe('undici:client:sendHeaders', onHeaders));
  return times;
}
export const mostInASecond = (times: readonly number[]) =>
  Math.max(...times.map((from) => times.filter((time) => time >= from && time < from + 1_000).length));
/** Median rate of starts per second over windows of `count`: a pause of the machine does not change the median. */
export function sustained(times: readonly number[], count: number): number {
  const rates = times.slice(count).map((time, n) => (count * 1_000) / (time - times[n]!));
  return rates.toSorted((a, b) => a - b)[rates.length >> 1]!;
}
/**
 * Measures the duration of a wait of a tenth of a second with a write to the store before and after it, relative to that
 * time. A worker does the same when the rate's window is full, and a busy machine is late each time. It measures until the
 * returned function is called, which returns the median.
 */
export function lateness(write: () => Promise<unknown>): () => Promise<number> {
  let stopped = false;
  const laps: number[] = [];
  const measured = (async () => {
    while (!stopped) {
      const began = performance.now();
      await write();
      await later(100);
      await write();
      laps.push((performance.now() - began) / 100);
    }
  })();
  const stop = () => {
    stopped = true;
    return measured;
  };
  atEnd(() => stop().catch(() => undefined));
  return async () => {
    await stop();
    return laps.toSorted((a, b) => a - b)[laps.length >> 1]!;
  };
}
/** Opens the connections and waits until the rate is free again: a cold start would distort the measurement. */
export async function warmUp(sms: RtSmsService, startedAt: number[]): Promise<void> {
  await Promise.all(ids(10).map(() => sms.send(hello)));
  await later(1_100);
  startedAt.splice(0);
}
const ids = (count: number, prefix = 'm') => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

/**
 * The requirements for all engines, tested through the module against a gateway over real sockets.
 *
 * @param engine makes the value of the option `engine` for one test
 */
export function engineConformance(
  name: string,
  engine: (setting: EngineSetting) => SmsEngineFactory | undefined,
  { inProcess = false }: EngineTraits = {},
): void {
  const run = (...given: [Partial<RtSmsOptions>?, RtSmsSimulatorOptions?, string[]?]) => runEngine(engine, ...given);

  describe(`the engine ${name}`, () => {
    describe('an id', () => {
      it('is returned, and identifies the message in events and find()', async () => {
        const { sms, events, gateway, settled } = await run();
        await expect(sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'a' })).resolves.toEqual({ id: 'a' });
        await settled('a');
        const [{ uid } = { uid: '' }] = gateway.messages;
        expect(gateway.messages).toMatchObject([{ msisdn: MSISDN, text: 'Hello', shortcode: 'SHOP' }]);
        expect(events).toEqual([{ event: 'rt-sms.accepted', id: 'a', account: 'default', uid, ref: 'order 1' }]);
        await expect(sms.find('a')).resolves.toEqual({ id: 'a', state: 'accepted', uid, ref: 'order 1' });
      });

      it('is generated if none is given, a new one each time', async () => {
        const { sms, settled, gateway } = await run();
        const queued = await sms.enqueueMany([{ message: hello }, { message: hello }, { message: hello }]);
        expect(new Set(queued.map(({ id }) => id)).size).toBe(3);
        await settled(...queued.map(({ id }) => id));
        expect(gateway.messages).toHaveLength(3);
      });

      it('used again for the same message sends nothing again: before, while and after it is sent, or in one batch', async () => {
        const { sms, settled, gateway, outcomes } = await run({}, { latencyMs: 50 });
        await Promise.all(ids(5).map(() => sms.enqueue(hello, { id: 'a' })));
        await gateway.waitForMessage();
        await sms.enqueueMany([
          { message: hello, id: 'a' },
          { message: hello, id: 'b' },
          { message: { ...hello, msisdn: '8 927 000-00-01' }, id: 'a' },
        ]);
        await settled('a', 'b');
        await expect(sms.enqueue(hello, { id: 'a' })).resolves.toEqual({ id: 'a' });
        await sms.enqueue(hello, { id: 'c' });
        await settled('c');
        expect(gateway.messages).toHaveLength(3);
        expect(outcomes('a')).toEqual(['accepted']);
      });

      it.each([
        ['text', { ...hello, text: 'Other words' }],
        ['number', { ...hello, msisdn: '79270000002' }],
        ['sender', { ...hello, shortcode: 'OTHER' }],
      ])('used again for another %s is a clear error, queued or settled', async (_, other) => {
        const { sms, settled, gateway } = await run();
        await sms.enqueue(hello, { id: 'a', delayMs: 100 });
        const again = async () => {
          const error: unknown = await sms.enqueue(other, { id: 'a' }).catch((thrown: unknown) => thrown);
          expect(error).toBeInstanceOf(RtSmsValidationError);
          expect((error as Error).message).toContain(
            "id: 'a' is already used by a different message (another text, number or sender)",
          );
          expect((error as Error).message).not.toMatch(/Hello|Other words|7927000000/);
        };
        await again();
        await settled('a');
        await again();
        expect(gateway.messages).toHaveLength(1);
      });

      it.each([
        ['digits only', '79270000001'],
        ['a colon', 'a:b::c'],
        ['another alphabet and a smile', 'заказ № 5 🙂'],
        ['one character', '-'],
        ['a space', ' '],
        ['128 characters', 'ю'.repeat(128)],
        ['a path', '../../etc'],
        ['a name that objects have', '__proto__'],
        ['a line break', 'a\nb'],
      ])('may be of %s', async (_, id) => {
        const { sms, settled, events } = await run();
        await sms.enqueue(hello, { id });
        await settled(id);
        expect(events).toMatchObject([{ event: 'rt-sms.accepted', id }]);
        await expect(sms.find(id)).resolves.toMatchObject({ id, state: 'accepted' });
        await expect(sms.cancel(id)).resolves.toBe(false);
      });

      it('that is unknown is not found, and cannot be cancelled', async () => {
        const { sms } = await run();
        await expect(sms.find('nobody')).resolves.toBeUndefined();
        await expect(sms.cancel('nobody')).resolves.toBe(false);
      });

      it('belongs to its account: another account may use it for another message', async () => {
        const { app, sms, until, events, gateway } = await run({}, {}, ['otp']);
        const otp = app.get<RtSmsService>(getRtSmsToken('otp'));
        await sms.enqueue(hello, { id: 'a' });
        await otp.enqueue({ ...hello, text: 'Your code is 1234' }, { id: 'a' });
        await until(() => events.length === 2);
        const [own, others] = ['Hello', 'Your code is 1234'].map(
          (words) => gateway.messages.find(({ text }) => text === words)!.uid,
        );
        await expect(sms.find('a')).resolves.toEqual({ id: 'a', state: 'accepted', uid: own });
        await expect(otp.find('a')).resolves.toEqual({ id: 'a', state: 'accepted', uid: others });
        expect(new Set(events.map(({ event, account, uid }) => `${event} ${account} ${uid}`))).toEqual(
          new Set([`rt-sms.accepted default ${own}`, `rt-sms.accepted otp ${others}`]),
        );
        expect(gateway.messages).toHaveLength(2);
      });
    });

    describe('enqueueMany', () => {
      it('queues all messages in order', async () => {
        const { sms, settled, gateway } = await run({ rate: { perSecond: 1_000 } });
        const all = ids(200);
        const items = all.map((id) => ({ message: { ...hello, text: id }, id }));
        await expect(sms.enqueueMany(items)).resolves.toEqual(all.map((id) => ({ id })));
        await settled(...all);
        expect(gateway.messages).toHaveLength(200);
        expect(new Set(gateway.messages.map(({ text }) => text)).size).toBe(200);
      });

      it('queues all or none: each invalid item is named by its index, and nothing is queued', async () => {
        const { sms, gateway } = await run();
        const items = [
          { message: hello, id: 'a' },
          { message: { ...hello, msisdn: 'nobody' }, id: 'b' },
          { message: hello, id: '' },
          { message: hello, id: 'x'.repeat(129) },
          { message: hello, id: 'c', delayMs: -1 },
          { message: hello, id: 'd', expiresAt: new Date(Number.NaN) },
          { message: hello, id: 'e', priority: 'soon' as 'otp' },
        ];
        const error: unknown = await sms.enqueueMany(items).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(RtSmsValidationError);
        const { problems } = error as RtSmsValidationError;
        expect(problems.map((problem) => problem.split(' ').slice(0, 3).join(' '))).toEqual([
          'item 1: msisdn',
          'item 2: id',
          'item 3: id',
          'item 4: delayMs',
          'item 5: expiresAt',
          'item 6: priority',
        ]);
        await expect(sms.enqueueMany(items.slice(1))).rejects.toThrow('item 0: msisdn');
        await expect(sms.enqueueMany(items.slice(1, 2))).rejects.toThrow(': msisdn');
        await expect(sms.find('a')).resolves.toBeUndefined();
        await later(100);
        expect(gateway.requests.post).toBe(0);
      });

      it('queues none if an id is already used by a different message, also in the same batch', async () => {
        const { sms, gateway } = await run();
        await sms.enqueue(hello, { id: 'old', delayMs: 60_000 });
        const other = { ...hello, text: 'Other' };
        for (const last of [
          { message: other, id: 'old' },
          { message: other, id: 'a' },
        ]) {
          await expect(sms.enqueueMany([{ message: hello, id: 'a' }, last])).rejects.toBeInstanceOf(
            RtSmsValidationError,
          );
          await expect(sms.find('a')).resolves.toBeUndefined();
        }
        expect(gateway.requests.post).toBe(0);
      });

      it('accepts an empty batch', async () => {
        const { sms } = await run();
        await expect(sms.enqueueMany([])).resolves.toEqual([]);
      });
    });

    describe('time', () => {
      it('delayMs: not before', async () => {
        const { sms, settled, startedAt } = await run();
        const began = performance.now();
        await sms.enqueueMany([
          { message: hello, id: 'much later', delayMs: 600_000 },
          { message: hello, id: 'later', delayMs: 400 },
          { message: hello, id: 'now' },
        ]);
        // They do not wait for the delayed ones.
        await settled('now', 'later');
        await expect(sms.find('much later')).resolves.toMatchObject({ state: 'queued' });
        expect(startedAt).toHaveLength(2);
        expect(startedAt[1]! - began).toBeGreaterThanOrEqual(399);
      });

      it('expiresAt: a message that could not be sent by then expires, and its event comes in time', async () => {
        const { sms, settled, events, gateway } = await run();
        const began = Date.now();
        await sms.enqueueMany([
          { message: hello, id: 'over', expiresAt: new Date(began - 1) },
          { message: { ...hello, ref: 'order 1' }, id: 'soon', delayMs: 60_000, expiresAt: new Date(began + 200) },
          { message: hello, id: 'ample', delayMs: 1_500, expiresAt: new Date(began + 60_000) },
        ]);
        await settled('over', 'soon');
        expect(Date.now() - began).toBeGreaterThanOrEqual(199);
        await settled('ample');
        // Compares the order, because each event may be late: `soon` expires before the time of `ample`.
        expect(events.map(({ id }) => id)).toEqual(['over', 'soon', 'ample']);
        expect(events.filter(({ event }) => event === 'rt-sms.expired')).toEqual([
          { event: 'rt-sms.expired', id: 'over', account: 'default' },
          { event: 'rt-sms.expired', id: 'soon', account: 'default', ref: 'order 1' },
        ]);
        expect(gateway.messages).toHaveLength(1);
        await expect(sms.find('soon')).resolves.toMatchObject({ state: 'expired' });
      });

      it('expiresAt is checked immediately before the POST: a message that waits for a connection expires', async () => {
        const { sms, settled, gateway, outcomes } = await run({ connections: 1 }, { latencyMs: 2_000 });
        await sms.enqueue(hello, { id: 'first' });
        await gateway.waitForMessage();
        await sms.enqueue(hello, { id: 'second', expiresAt: new Date(Date.now() + 200) });
        await settled('second');
        expect(outcomes('first')).toEqual([]);
        await settled('first');
        expect(outcomes('second')).toEqual(['expired']);
        expect(gateway.messages).toHaveLength(1);
      });

      it('expiresAt does not interrupt a POST in flight: the message is accepted', async () => {
        const { sms, settled, outcomes } = await run({}, { latencyMs: 3_500 });
        await sms.enqueue(hello, { id: 'a', expiresAt: new Date(Date.now() + 3_000) });
        await settled('a');
        expect(outcomes('a')).toEqual(['accepted']);
      });

      it('expiresAt also applies to retries', async () => {
        const { sms, settled, gateway, outcomes } = await run();
        gateway.nextSend('system_error', Infinity);
        await sms.enqueue(hello, { id: 'a', expiresAt: new Date(Date.now() + 3_000) });
        await settled('a');
        const { post } = gateway.requests;
        expect(post).toBeGreaterThan(0);
        await later(1_000);
        expect(gateway.requests.post).toBe(post);
        expect(outcomes('a')).toEqual(['expired']);
      });
    });

    describe('rate', () => {
      it('at most perSecond in any sliding second, and not far below it', async () => {
        const { sms, settled, startedAt } = await run({ rate: { perSecond: 20 } }, { latencyMs: 100 });
        await warmUp(sms, startedAt);
        const all = ids(70);
        const late = lateness(() => sms.enqueue(hello, { delayMs: 600_000 }));
        await sms.enqueueMany(all.map((id) => ({ message: hello, id })));
        await settled(...all);
        expect(mostInASecond(startedAt)).toBeLessThanOrEqual(20);
        expect(sustained(startedAt, 20) * (await late())).toBeGreaterThanOrEqual(18);
      });

      it('slow answers do not reduce the rate', async () => {
        const { sms, gateway, startedAt } = await run({ rate: { perSecond: 5 } }, { latencyMs: 5_000 });
        const all = ids(10);
        const answered = new Promise((resolve) => gateway.once('exchange', resolve));
        await sms.enqueueMany(all.map((id) => ({ message: hello, id })));
        await answered;
        expect(startedAt).toHaveLength(10);
      });

      it('is shared with send()', async () => {
        const { sms, settled, startedAt } = await run({ rate: { perSecond: 10 } });
        await warmUp(sms, startedAt);
        const all = ids(12);
        const sends = Promise.all(ids(8).map(() => sms.send(hello)));
        await sms.enqueueMany(all.map((id) => ({ message: hello, id })));
        await Promise.all([settled(...all), sends]);
        expect(startedAt).toHaveLength(20);
        expect(mostInASecond(startedAt)).toBeLessThanOrEqual(10);
      });

      it('priority: urgent messages go before waiting ones', async () => {
        // With one connection, messages arrive in the order in which they start.
        const { sms, settled, gateway, startedAt } = await run({ rate: { perSecond: 5 }, connections: 1 });
        const items = (priority: 'otp' | 'normal' | 'bulk', count: number) =>
          ids(count, priority).map((id) => ({ message: { ...hello, text: id }, id, priority }));
        await sms.enqueueMany(items('bulk', 12));
        await gateway.waitForMessage();
        // In one call, or the first of them could be sent before the last is enqueued.
        await sms.enqueueMany([...items('normal', 2), ...items('otp', 2)]);
        const before = startedAt.length;
        await settled(...ids(12, 'bulk'), ...ids(2, 'normal'), ...ids(2, 'otp'));
        const order = gateway.messages.map(({ text }) => text.replace(/\d+/, ''));
        const turn = order.indexOf('otp');
        expect(order.slice(turn)).toEqual([
          'otp',
          'otp',
          'normal',
          'normal',
          ...Array<string>(order.length - turn - 4).fill('bulk'),
        ]);
        // As many messages as the rate permits may have started before the urgent ones were enqueued.
        expect(turn).toBeLessThanOrEqual(before + 5);
        expect(turn).toBeLessThan(12);
      });
    });

    describe('find and cancel', () => {
      it('find returns each state and its reason', async () => {
        const { sms, settled, gateway } = await run({ timeouts: { sendMs: 2_000 } });
        await sms.enqueue(hello, { id: 'queued', delayMs: 60_000 });
        await sms.enqueue(hello, { id: 'cancelled', delayMs: 60_000 });
        await sms.cancel('cancelled');
        await sms.enqueue(hello, { id: 'expired', expiresAt: new Date(0) });
        await sms.enqueue(hello, { id: 'accepted' });
        await settled('accepted');
        gateway.nextSend('invalid_field_msisdn');
        await sms.enqueue(hello, { id: 'refused' });
        await settled('refused');
        gateway.nextSend('timeout');
        await sms.enqueue(hello, { id: 'unknown' });
        await settled('unknown', 'expired', 'cancelled');
        const states = ['queued', 'cancelled', 'expired', 'accepted', 'refused', 'unknown'];
        const found = await Promise.all(states.map((id) => sms.find(id)));
        expect(found).toEqual([
          { id: 'queued', state: 'queued' },
          { id: 'cancelled', state: 'cancelled' },
          { id: 'expired', state: 'expired' },
          { id: 'accepted', state: 'accepted', uid: gateway.messages[0]!.uid },
          { id: 'refused', state: 'refused', errorCode: 'RT_SMS_REJECTED' },
          { id: 'unknown', state: 'unknown', errorCode: 'RT_SMS_TIMEOUT' },
        ]);
      });

      it('cancel is true if it will not be sent, also the second time, and false if it was or may have been', async () => {
        const { sms, settled, gateway, events, outcomes } = await run();
        await sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'waiting', delayMs: 2_000 });
        const due = later(2_400);
        await expect(sms.cancel('waiting')).resolves.toBe(true);
        await expect(sms.cancel('waiting')).resolves.toBe(true);
        await settled('waiting');
        expect(events).toEqual([{ event: 'rt-sms.cancelled', id: 'waiting', account: 'default', ref: 'order 1' }]);
        await sms.enqueue(hello, { id: 'sent' });
        await settled('sent');
        await expect(sms.cancel('sent')).resolves.toBe(false);
        gateway.nextSend({ fault: 'reset', accepted: true });
        await sms.enqueue(hello, { id: 'unknown' });
        await settled('unknown');
        await expect(sms.cancel('unknown')).resolves.toBe(false);
        await due;
        expect(gateway.messages).toHaveLength(2);
        expect(outcomes('waiting')).toEqual(['cancelled']);
      });

      it('cancel during the send returns the right answer', async () => {
        const { sms, settled, gateway, outcomes } = await run({}, { latencyMs: 5 });
        const all = ids(150);
        const answers = await Promise.all(
          all.map(async (id, n) => {
            await later(n % 20);
            await sms.enqueue({ ...hello, text: id }, { id, delayMs: n % 3 });
            // The duration of a send depends on the machine, so some messages are cancelled only after they have arrived.
            if (n % 10 === 0) await gateway.waitForMessage(({ text }) => text === id);
            else await later(n % 7);
            return sms.cancel(id);
          }),
        );
        await settled(...all);
        const sent = new Set(gateway.messages.map(({ text }) => text));
        expect(gateway.messages).toHaveLength(sent.size);
        expect(all.map((id) => !sent.has(id))).toEqual(answers);
        expect(all.map((id) => outcomes(id))).toEqual(answers.map((yes) => [yes ? 'cancelled' : 'accepted']));
        // Both answers must occur, or the test proves nothing.
        expect(new Set(answers).size).toBe(2);
      });
    });

    describe('outcomes', () => {
      it('exactly one for each id, whatever happens to it', async () => {
        const { sms, settled, gateway, outcomes, events } = await run({ timeouts: { sendMs: 400, connectMs: 200 } });
        const faults = ['system_error', 'reset', 'html', 'invalid_field_text', 'timeout', 'truncate'] as const;
        gateway.on('message', ({ text }) => {
          const n = Number(text.slice(1));
          const fault = n % 3 === 0 ? faults[(n / 3) % faults.length] : undefined;
          if (fault) gateway.nextSend(fault);
        });
        const all = ids(120);
        await sms.enqueueMany(
          all.map((id, n) => ({
            message: { ...hello, text: id, ref: id },
            id,
            // Half of the cancelled messages are delayed, so they are cancelled in time; the others race.
            delayMs: n % 20 === 18 ? 60_000 : n * 5,
            ...(n % 10 === 9 && { expiresAt: new Date() }),
          })),
        );
        for (const id of all.filter((_, n) => n % 10 === 8)) await sms.cancel(id);
        await settled(...all);
        await later(300);
        const each = all.map((id) => outcomes(id));
        expect(each.filter((names) => names.length !== 1)).toEqual([]);
        const kinds = new Set(each.flat());
        expect([...kinds].toSorted()).toEqual(['accepted', 'cancelled', 'expired', 'outcome-unknown', 'refused']);
        expect(events.filter(({ event }) => OUTCOMES.includes(event)).every(({ id, ref }) => id === ref)).toBe(true);
        // The gateway has each accepted message once, and none twice.
        const texts = gateway.messages.map(({ text }) => text);
        expect(new Set(texts).size).toBe(texts.length);
      });

      it('a rejected message is refused with the reason, and not sent again', async () => {
        const { sms, settled, events, gateway } = await run();
        gateway.nextSend('invalid_field_shortcode');
        await sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'a' });
        await settled('a');
        expect(events).toMatchObject([
          {
            event: 'rt-sms.refused',
            id: 'a',
            account: 'default',
            ref: 'order 1',
            error: { name: 'RtSmsRejectedError', reason: 'invalid_field_shortcode', outcome: 'rejected' },
          },
        ]);
        await later(300);
        expect(gateway.requests.post).toBe(1);
      });

      it.each(['timeout', 'reset', 'html', { status: 503 }] as const)(
        'after %p it may have been sent: outcome-unknown, never sent again',
        async (fault) => {
          const { sms, settled, events, gateway } = await run({ timeouts: { sendMs: 300 } });
          gateway.nextSend(typeof fault === 'string' ? { fault, accepted: true } : { ...fault, accepted: true });
          await sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'a' });
          await settled('a');
          expect(events).toMatchObject([
            {
              event: 'rt-sms.outcome-unknown',
              id: 'a',
              account: 'default',
              ref: 'order 1',
              error: { outcome: 'unknown' },
            },
          ]);
          await sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'a' });
          await later(700);
          expect(gateway.requests.post).toBe(1);
          expect(events).toHaveLength(1);
        },
      );

      it('a message that the gateway rejected is refused, even if it has expired by then', async () => {
        const { sms, gateway, settled, outcomes, events } = await run();
        gateway.nextSend({ fault: 'invalid_source_address', delayMs: 1_000 });
        const expiresAt = new Date(Date.now() + 900);
        await sms.enqueue(hello, { id: 'a', expiresAt });
        await settled('a');
        expect(Date.now()).toBeGreaterThan(expiresAt.getTime());
        expect(outcomes('a')).toEqual(['refused']);
        expect(events.find(({ id }) => id === 'a')?.error).toMatchObject({ reason: 'invalid_source_address' });
      });

      it('system_error was not saved: it is sent again, and accepted once', async () => {
        const { sms, settled, gateway, outcomes } = await run();
        gateway.nextSend('system_error', 4);
        await sms.enqueue(hello, { id: 'a' });
        await settled('a');
        expect(outcomes('a')).toEqual(['accepted']);
        expect(gateway.messages).toHaveLength(1);
        expect(gateway.requests.post).toBe(5);
      });

      it('a gateway that is down for a while: all messages wait, and are sent once afterwards', async () => {
        const lost = await RtSmsSimulator.start();
        const { url, options } = lost;
        await lost.close();
        const { sms, settled, outcomes } = await run({ url, timeouts: { sendMs: 1_000, connectMs: 500 } });
        const all = ids(20);
        await sms.enqueueMany(all.map((id) => ({ message: { ...hello, text: id }, id })));
        await later(500);
        expect(all.flatMap((id) => outcomes(id))).toEqual([]);
        const port = Number(new URL(url).port);
        const gateway = await RtSmsSimulator.start({
          ...options,
          url: undefined,
          port,
          lifecycle: false,
        } as RtSmsSimulatorOptions);
        atEnd(() => gateway.close());
        await settled(...all);
        expect(all.map((id) => outcomes(id))).toEqual(all.map(() => ['accepted']));
        expect(gateway.messages.map(({ text }) => text).toSorted()).toEqual(all.toSorted());
      });

      it.each(['wrong_ip', 'wrong_credentials'] as const)(
        '%s burns nothing: sending pauses, health is down, and it goes on once the gateway takes us again',
        async (reason) => {
          const { sms, settled, gateway, outcomes, until } = await run();
          gateway.nextSend(reason, Infinity);
          gateway.nextStatus(reason, Infinity);
          const all = ids(40);
          await sms.enqueueMany(all.map((id) => ({ message: { ...hello, text: id }, id })));
          await sms.enqueue(hello, { id: 'urgent', delayMs: 500, expiresAt: new Date(Date.now() + 600) });
          await until(() => gateway.requests.post > 0);
          await expect(sms.checkHealth()).resolves.toMatchObject({ ok: false, reason });
          // The event of a message that expires while sending is paused comes in time.
          await settled('urgent');
          expect(outcomes('urgent')).toEqual(['expired']);
          // Only the messages that were in flight, and none since.
          expect(gateway.requests.post).toBeLessThanOrEqual(10);
          expect(all.flatMap((id) => outcomes(id))).toEqual([]);
          await expect(sms.find('m0')).resolves.toMatchObject({ state: 'queued' });
          gateway.clearFaults();
          await sms.getStatus('message-id-anything').catch(() => undefined);
          await settled(...all);
          expect(all.map((id) => outcomes(id))).toEqual(all.map(() => ['accepted']));
          expect(gateway.messages).toHaveLength(40);
        },
      );
    });

    describe('events', () => {
      it('accepted comes before any status of that message, however early its callbacks', async () => {
        const { sms, until, events } = await run(
          {},
          { callbackBeforeAnswer: true, lifecycle: { awaitingMs: 0, finalMs: 0 } },
        );
        const all = ids(50);
        await sms.enqueueMany(all.map((id) => ({ message: { ...hello, ref: id }, id })));
        await until(() => events.filter(({ event }) => event === 'rt-sms.status.delivered').length === 50);
        for (const id of all) {
          const own = events.filter((seen) => seen.ref === id && !/status\./.test(seen.event));
          const names = own.map(({ event, status }) => status ?? event);
          expect(names[0]).toBe('rt-sms.accepted');
          expect(names.slice(1).filter((status) => status !== 'awaiting_report')).toEqual(['delivered']);
          expect(names.at(-1)).toBe('delivered');
        }
      });

      it('all events of a message have its ref', async () => {
        const { sms, settled, gateway, events, until } = await run();
        await sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'a' });
        await settled('a');
        await gateway.report(gateway.messages[0]!.uid, 'awaiting_report');
        await gateway.report(gateway.messages[0]!.uid, 'delivered');
        await until(() => events.some(({ status }) => status === 'delivered'));
        expect(events.map(({ ref }) => ref)).toEqual(events.map(() => 'order 1'));
      });

      it('a message enqueued before the application listens is sent, and its event is received', async () => {
        const gateway = await RtSmsSimulator.start({ lifecycle: false });
        atEnd(() => gateway.close());
        const factory = engine({ key: `conformance-${process.pid}-early` });
        @Module({
          imports: [
            EventEmitterModule.forRoot(),
            RtSmsModule.forRoot({
              ...gateway.options,
              shortcode: 'SHOP',
              callback: { secrets: SECRET },
              ...(factory && { engine: factory }),
            }),
          ],
        })
        class AppModule {}
        let heard!: (payload: unknown) => void;
        const accepted = new Promise((resolve) => (heard = resolve));
        await start('express', { imports: [AppModule] }, async (app) => {
          app.get(EventEmitter2).on('rt-sms.accepted', heard);
          await app.get(RtSmsService).enqueue(hello, { id: 'early' });
        });
        await expect(accepted).resolves.toMatchObject({ id: 'early' });
      });
    });

    describe('a rule that all engines share', () => {
      it.each([
        ['formatted', 'otp 8 (927) 123-45-67', 'otp 8927*****67'],
        ['plain', '79271234567', '7927*****67'],
      ])('masking: a %s phone number in an id is masked in an error', async (_, id, masked) => {
        const { sms } = await run();
        await sms.enqueue(hello, { id, delayMs: 60_000 });
        const error: unknown = await sms
          .enqueue({ ...hello, text: 'Other' }, { id })
          .catch((thrown: unknown) => thrown);
        expect((error as Error).message).toContain(`id: '${masked}' is already used`);
        expect((error as Error).message).not.toContain(id);
        await sms.cancel(id);
      });

      it('polling: a message whose first poll was due before it is tracked is polled at once', async () => {
        const { app, sms, gateway, until, events } = await run({ tracking: { schedule: [60_000] } }, {}, ['otp']);
        gateway.callTo(undefined);
        const { uid } = await app.get<RtSmsService>(getRtSmsToken('otp')).send(hello);
        await gateway.report(uid, 'delivered');
        await sms.track({ uid, sentAt: new Date(Date.now() - 75_000) });
        await until(() => events.some((event) => event.account === 'default' && event.status === 'delivered'));
        expect(gateway.requests.get).toBe(1);
      });

      it('stored errors: an event that is announced again has the same error', async () => {
        const { app, sms, events, gateway, until } = await run();
        const announcements = inProcess ? 1 : 3;
        let calls = 0;
        app.get(EventEmitter2).on('rt-sms.refused', () => {
          if (++calls < 3) throw new Error('the database is down');
        });
        gateway.nextSend('invalid_field_text');
        await sms.enqueue(hello, { id: 'a' });
        await until(() => events.length === announcements);
        const errors = events.map(({ error }) => ({ type: error!.constructor, ...error!.toJSON() }));
        for (const error of errors) expect(error).toEqual(errors[0]);
        expect(events[0]!.error!.message).toBe(
          'The gateway rejected the request: invalid_field_text. Fix: send a text that is not empty',
        );
      });

      it('back-off: the time before the next attempt has full jitter', async () => {
        const { sms, gateway, settled } = await run({ retry: { send: 0 } });
        const attempts = new Map<string, number[]>();
        gateway.on('exchange', ({ method, requestBody, at }) => {
          if (method !== 'POST') return;
          const { text } = JSON.parse(requestBody) as { text: string };
          attempts.set(text, [...(attempts.get(text) ?? []), at.getTime()]);
        });
        const all = ids(30);
        gateway.nextSend('system_error', all.length);
        await sms.enqueueMany(all.map((id) => ({ message: { ...hello, text: id }, id })));
        await settled(...all);
        const pauses = [...attempts.values()].map(([first = 0, second = 0]) => second - first);
        expect(pauses).toHaveLength(all.length);
        // 100 ms and up to 500 ms more. With half jitter no pause would be below 350 ms.
        expect(Math.min(...pauses)).toBeLessThan(325);
        expect(Math.max(...pauses)).toBeGreaterThan(325);
      });
    });

    describe('waitForFinal and tracking.open', () => {
      it('a wait ends with what a callback tells, with what the gateway says, and at once with what is known', async () => {
        const { sms, gateway, events } = await run();
        const { uid } = await sms.send(hello);
        const waits = [sms.waitForFinal(uid), sms.waitForFinal(uid)];
        await gateway.report(uid, 'delivered', { parts: 1 });
        const final = { uid, status: 'delivered', final: true };
        await expect(Promise.all(waits)).resolves.toMatchObject([final, final]);
        const asked = gateway.exchanges.length;
        await expect(sms.waitForFinal(uid)).resolves.toMatchObject(final);
        // A store may not have the status yet.
        if (inProcess) expect(gateway.exchanges).toHaveLength(asked);
        gateway.callTo(undefined);
        const other = await sms.send(hello);
        await gateway.report(other.uid, 'failed');
        await expect(sms.waitForFinal(other.uid)).resolves.toMatchObject({ uid: other.uid, status: 'failed' });
        expect(events.filter(({ event }) => event === 'rt-sms.status').map(({ uid }) => uid)).toEqual([uid, other.uid]);
      });

      it('a wait ends by its limits, by the end of the message, and by that of the application', async () => {
        const { app, sms } = await run({ tracking: { schedule: [100], maxAgeMs: 2_000 } });
        const { uid } = await sms.send(hello);
        const abort = new AbortController();
        const wait = { operation: 'wait' };
        const waits = [
          [sms.waitForFinal(uid, { timeoutMs: 50 }), { name: 'RtSmsTimeoutError', durationMs: expect.any(Number) }],
          [sms.waitForFinal(uid, { signal: abort.signal }), { name: 'RtSmsAbortedError' }],
          [sms.waitForFinal(uid, { signal: AbortSignal.abort() }), { name: 'RtSmsAbortedError' }],
          [
            sms.waitForFinal(uid, { timeoutMs: 30_000 }),
            { name: 'RtSmsTimeoutError', message: expect.stringContaining('is no longer tracked') },
          ],
        ] as const;
        const ends = Promise.all(waits.map(([end, error]) => expect(end).rejects.toMatchObject({ ...wait, ...error })));
        abort.abort();
        await ends;
        const last = sms.waitForFinal('message-id-never');
        const ended = expect(last).rejects.toMatchObject({ name: 'RtSmsAbortedError', ...wait });
        await app.close();
        await ended;
      });

      it('messages of tracking.open are tracked, except for invalid uids', async () => {
        // A journal may return a date as text, or null.
        const old = { uid: 'message-id-open', ref: 'order 1', sentAt: new Date().toISOString() };
        const open = () => [null, 7, { uid: 'a b' }, { uid: 8, sentAt: null }, old] as unknown as string[];
        const { events, until } = await run({ tracking: { schedule: [100], maxAgeMs: 1_000, open } });
        await until(() => events.length > 2);
        const gone = { event: 'rt-sms.unresolved', account: 'default' };
        expect(new Set(events)).toEqual(
          new Set([
            { ...gone, uid: 'message-id-7' },
            { ...gone, uid: 'message-id-8' },
            { ...gone, uid: 'message-id-open', ref: 'order 1' },
          ]),
        );
      });
    });

    describe('the end of the application', () => {
      it('messages in flight finish, and their outcomes are emitted', async () => {
        const { app, sms, gateway, outcomes } = await run({}, { latencyMs: 300 });
        const all = ids(5);
        await sms.enqueueMany(all.map((id) => ({ message: { ...hello, text: id }, id })));
        let taken = 0;
        await gateway.waitForMessage(() => ++taken === 5);
        await app.close();
        expect(all.map((id) => outcomes(id))).toEqual(all.map(() => ['accepted']));
      });

      it('new messages are rejected', async () => {
        const { app, sms } = await run();
        await app.close();
        await expect(sms.enqueue(hello, { id: 'late' })).rejects.toBeInstanceOf(RtSmsOverloadedError);
      });

      if (!inProcess) return;

      it('what is unsent is refused: not sent', async () => {
        const { app, sms, gateway, outcomes, events } = await run({ rate: { perSecond: 2 } }, { latencyMs: 100 });
        const all = ids(6);
        await sms.enqueueMany(all.map((id) => ({ message: { ...hello, text: id }, id })));
        await sms.enqueue(hello, { id: 'delayed', delayMs: 60_000, expiresAt: new Date(Date.now() + 120_000) });
        await gateway.waitForMessage();
        await app.close();
        const sent = gateway.messages.map(({ text }) => text);
        expect(sent.length).toBeLessThan(6);
        expect(all.map((id) => outcomes(id))).toEqual(all.map((id) => [sent.includes(id) ? 'accepted' : 'refused']));
        expect(outcomes('delayed')).toEqual(['refused']);
        for (const { error } of events.filter(({ event }) => event === 'rt-sms.refused')) {
          expect(error).toMatchObject({ name: 'RtSmsOverloadedError', outcome: 'not_sent', retryable: true });
        }
      });

      it('a POST that does not settle gets five seconds, then its outcome is unknown', async () => {
        const { app, sms, gateway, outcomes } = await run();
        gateway.nextSend({ fault: 'timeout', accepted: true });
        await sms.enqueue(hello, { id: 'a' });
        await gateway.waitForMessage();
        expect(await lateBy(5_000, app.close())).toBeLessThan(1_000);
        expect(outcomes('a')).toEqual(['outcome-unknown']);
      });
    });

    if (!inProcess) return;

    it('is bounded: a batch beyond engineLimit is rejected as a whole, and there is room again after a send', async () => {
      const { sms, settled, gateway } = await run({ engineLimit: 3 });
      await sms.enqueueMany(['a', 'b'].map((id) => ({ message: hello, id, delayMs: 2_000 })));
      await expect(sms.enqueueMany(['c', 'd'].map((id) => ({ message: hello, id })))).rejects.toMatchObject({
        name: 'RtSmsOverloadedError',
        outcome: 'not_sent',
        retryable: true,
        message: expect.stringContaining('engineLimit 3') as string,
      });
      await expect(sms.find('c')).resolves.toBeUndefined();
      await expect(sms.find('d')).resolves.toBeUndefined();
      // Queued ids do not need further room.
      await sms.enqueueMany(['a', 'b', 'c'].map((id) => ({ message: hello, id, delayMs: 300 })));
      await settled('a', 'b', 'c');
      await sms.enqueueMany(['d', 'e', 'f'].map((id) => ({ message: hello, id })));
      await settled('d', 'e', 'f');
      expect(gateway.messages).toHaveLength(6);
    });
  });
}
