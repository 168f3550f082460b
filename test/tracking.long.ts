import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { jest } from '@jest/globals';
import { Injectable, Module } from '@nestjs/common';
import { EventEmitterModule } from '@nestjs/event-emitter';
import {
  OnRtSmsStatus,
  RtSmsModule,
  RtSmsService,
  type OpenUid,
  type RtSmsOptions,
  type RtSmsStatusEvent,
} from 'nestjs-rt-sms';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { later } from './engine-conformance.js';
import { atEnd, PLATFORMS, start, type Platform } from './platforms.js';
import { lateBy } from './timing.js';

const SECRET = 'a-secret-of-sixteen';
const MESSAGES = 10_000;
/** Numbers with the statuses delivered, failed, rejected and insufficient_balance, in turn. */
const NUMBERS = ['79270000001', '79990000002', '79990000003', '79990000004'];

jest.setTimeout(180_000);

/** Forwards connections to the gateway. While it is down, they are cut, and new ones are refused. */
class Relay {
  private readonly sockets = new Set<Socket>();
  private server = this.make();
  port = 0;

  constructor(private readonly to: number) {}

  async up(): Promise<this> {
    this.server = this.make().listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
    return this;
  }

  async down(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private make() {
    return createServer((socket) => {
      const gateway = connect(this.to, '127.0.0.1');
      for (const [one, other] of [
        [socket, gateway],
        [gateway, socket],
      ] as const) {
        this.sockets.add(one);
        one.pipe(other);
        one
          .on('error', () => undefined)
          .on('close', () => {
            this.sockets.delete(one);
            other.destroy();
          });
      }
    });
  }
}

/** An application behind a relay to its gateway, with all status events that it has emitted. */
async function world(given: Partial<RtSmsOptions>, simulator: RtSmsSimulatorOptions, platform: Platform = 'fastify') {
  const gateway = await RtSmsSimulator.start({ seed: 7, ...simulator });
  atEnd(() => gateway.close());
  const relay = await new Relay(Number(new URL(gateway.url).port)).up();
  atEnd(() => relay.down());
  const events: RtSmsStatusEvent[] = [];
  let listener: (event: RtSmsStatusEvent) => unknown = () => undefined;
  @Injectable()
  class Listener {
    @OnRtSmsStatus()
    on(event: RtSmsStatusEvent): unknown {
      events.push(event);
      return listener(event);
    }
  }
  @Module({
    imports: [
      EventEmitterModule.forRoot(),
      RtSmsModule.forRoot({
        ...gateway.options,
        url: gateway.url.replace(/:\d+\//, `:${relay.port}/`),
        shortcode: 'SHOP',
        connections: 40,
        callback: { secrets: SECRET },
        ...given,
      }),
    ],
    providers: [Listener],
  })
  class AppModule {}
  const { app, url } = await start(platform, { imports: [AppModule] });
  const callbacks = `${url}/rt-sms/callback${given.callback?.secrets === undefined && given.callback ? '' : `/${SECRET}`}`;
  gateway.callTo(callbacks);
  return {
    app,
    sms: app.get(RtSmsService),
    gateway,
    relay,
    events,
    callbacks,
    onEvent: (act: typeof listener) => (listener = act),
    /** Final events of each message without corrections. */
    finals: () => {
      const finals = new Map<string, string[]>();
      for (const { uid, status, final, corrects } of events) {
        if (final && corrects === undefined) finals.set(uid, [...(finals.get(uid) ?? []), status]);
      }
      return finals;
    },
    /** Resolves when `count` messages have a final status. */
    allFinal: (count: number) =>
      new Promise<void>((resolve) => {
        const uids = new Set(events.filter(({ final }) => final).map(({ uid }) => uid));
        if (uids.size >= count) return resolve();
        listener = ({ uid, final }) => final && uids.add(uid).size === count && resolve();
      }),
    /** Resolves when the gateway has sent all callbacks. */
    async quiet(statuses: number) {
      while (
        gateway.callbacks.filter(({ copy }) => !copy).length < statuses ||
        gateway.callbacks.some(({ lost, code, error }) => !lost && code === undefined && error === undefined)
      ) {
        await once(gateway, 'callback');
      }
    },
  };
}
type World = Awaited<ReturnType<typeof world>>;

/**
 * Sends `count` messages; in the middle the gateway is down, for at least `ms` and until a hundred could not leave. What
 * provably did not leave is sent again.
 */
async function sendThroughOutage({ sms, relay, gateway, callbacks }: World, count: number, ms: number, calls = true) {
  const uids: string[] = [];
  let rows = Array.from({ length: count }, (_, n) => ({
    msisdn: NUMBERS[n % 4]!,
    text: `Hello ${n}`,
    ref: `order ${n}`,
  }));
  let settled = 0;
  let failures = 0;
  let settledAll = () => undefined as void;
  let felt = () => undefined as void;
  const isFelt = new Promise<void>((resolve) => (felt = resolve));
  async function* source(part: typeof rows) {
    for (const [n, row] of part.entries()) {
      // The gateway stops while no request is in flight, because the outcome of a cut request would be unknown.
      if (part.length === count && n === count / 2) {
        if (settled < n) await new Promise<void>((resolve) => (settledAll = resolve));
        gateway.callTo(undefined);
        await relay.down();
        void Promise.all([later(ms), isFelt]).then(async () => {
          await relay.up();
          gateway.callTo(calls ? callbacks : undefined);
        });
      }
      yield row;
    }
  }
  while (rows.length > 0) {
    const again: typeof rows = [];
    for await (const result of sms.sendMany(source(rows), { concurrency: 100 })) {
      if (++settled === count / 2) settledAll();
      if (result.ok) uids.push(result.sent.uid);
      else if (result.error.outcome === 'not_sent') {
        if (again.push(result.message as (typeof rows)[number]) > 100) felt();
      } else if (result.error.outcome !== 'unknown') throw result.error;
      else {
        // The connection was cut as it opened. Unlike an application, the test can check whether the message has arrived.
        const taken = gateway.messages.find(({ text }) => text === result.message.text);
        if (taken) await sms.track({ uid: taken.uid, ref: result.message.ref! });
        if (taken) uids.push(taken.uid);
        else again.push(result.message as (typeof rows)[number]);
      }
    }
    failures += again.length;
    rows = again;
    if (again.length > 0) await later(100);
  }
  return { uids, failures };
}

const figures: string[] = [];
const note = (line: string) => figures.push(line);
afterAll(() => process.stderr.write(figures.map((line) => `  ${line}\n`).join('')));

/** Expects exactly one final event without a correction for each message, with the status that the gateway has. */
function expectExactlyOne({ gateway, finals, events }: World, uids: readonly string[]) {
  const all = finals();
  expect(uids.filter((uid) => all.get(uid)?.length !== 1)).toEqual([]);
  expect(all.size).toBe(uids.length);
  const truth = new Map(gateway.messages.map(({ uid, status }) => [uid, status]));
  expect(uids.filter((uid) => all.get(uid)![0] !== truth.get(uid))).toEqual([]);
  expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
}

const SHORT = { schedule: [300, 600, 1_200], perSecond: 10_000 };
const LIFECYCLE = { awaitingMs: 50, finalMs: 250 };
const ROUGH = { loss: 0.3, duplicate: 0.1, reorder: 0.1, lifecycle: LIFECYCLE };

describe('never lost', () => {
  it('30 % of callbacks lost, 10 % doubled, 10 % out of order, the gateway down for a while: one final event each', async () => {
    const it = await world({ tracking: SHORT }, ROUGH);
    const { uids, failures } = await sendThroughOutage(it, MESSAGES, 800);
    await it.allFinal(MESSAGES);
    await later(1_500);
    expectExactlyOne(it, uids);
    const polled = it.events.filter(({ final, source }) => final && source === 'poll').length;
    const lost = it.gateway.callbacks.filter((callback) => callback.lost).length;
    expect(failures).toBeGreaterThan(100);
    expect(lost).toBeGreaterThan(MESSAGES / 4);
    expect(polled).toBeGreaterThan(MESSAGES / 5);
    note(
      `rough: ${it.finals().size} of ${MESSAGES} final once; ${polled} by poll, ${lost} callbacks lost, ${it.gateway.requests.get} status requests`,
    );
  });

  it('control: with polling all but off the lost ones are seen missing', async () => {
    const it = await world({ tracking: { schedule: [3_600_000] } }, ROUGH);
    const uids: string[] = [];
    for await (const result of it.sms.sendMany(
      Array.from({ length: 1_000 }, () => ({ msisdn: NUMBERS[0]!, text: 'Hello' })),
    )) {
      if (result.ok) uids.push(result.sent.uid);
    }
    await it.quiet(2_000);
    const missing = uids.filter((uid) => !it.finals().has(uid)).length;
    expect(missing).toBeGreaterThan(250);
    expect(missing).toBeLessThan(350);
    expect(it.gateway.requests.get).toBe(0);
  });

  it('no callbacks at all, the gateway down for a while: one final event each', async () => {
    const it = await world({ tracking: SHORT, callback: {} }, { lifecycle: LIFECYCLE });
    it.gateway.callTo(undefined);
    const { uids } = await sendThroughOutage(it, MESSAGES, 800, false);
    await it.allFinal(MESSAGES);
    expectExactlyOne(it, uids);
    expect(it.events.every(({ source, confirmed }) => source === 'poll' && confirmed)).toBe(true);
    note(`no callbacks: ${it.finals().size} of ${MESSAGES} final once; ${it.gateway.requests.get} status requests`);
  });

  it('every callback arrives with its secret, some twice or out of order: no status request at all', async () => {
    const it = await world({}, { duplicate: 0.1, reorder: 0.1, lifecycle: LIFECYCLE });
    const uids: string[] = [];
    const rows = Array.from({ length: MESSAGES }, (_, n) => ({ msisdn: NUMBERS[n % 4]!, text: `Hello ${n}` }));
    for await (const result of it.sms.sendMany(rows, { concurrency: 100 })) if (result.ok) uids.push(result.sent.uid);
    await it.allFinal(MESSAGES);
    // Half of the numbers have two statuses, the others have one.
    await it.quiet(1.5 * MESSAGES);
    expectExactlyOne(it, uids);
    expect(it.gateway.requests.get).toBe(0);
    expect(it.events.every(({ source, confirmed }) => source === 'callback' && !confirmed)).toBe(true);
    note(
      `all callbacks believed: ${it.finals().size} of ${MESSAGES} final once; ${it.gateway.requests.get} status requests`,
    );
  });

  it('without a secret callbacks are hints: the gateway is polled, and its status is emitted', async () => {
    const it = await world(
      { callback: {}, tracking: { perSecond: 10_000 } },
      { lifecycle: { awaitingMs: 50, finalMs: 1_200 } },
    );
    const uids: string[] = [];
    const rows = Array.from({ length: 500 }, (_, n) => ({ msisdn: NUMBERS[n % 4]!, text: `Hello ${n}` }));
    for await (const result of it.sms.sendMany(rows, { concurrency: 50 })) if (result.ok) uids.push(result.sent.uid);
    await it.allFinal(500);
    expectExactlyOne(it, uids);
    expect(it.events.every(({ source, confirmed }) => source === 'callback' && confirmed)).toBe(true);
  });

  it('confirm: always polls for each message although the callback has the secret', async () => {
    const it = await world(
      { callback: { secrets: SECRET, confirm: 'always' }, tracking: { perSecond: 10_000 } },
      { lifecycle: { awaitingMs: 50, finalMs: 1_200 } },
    );
    const uids = await Promise.all(NUMBERS.map(async (msisdn) => (await it.sms.send({ msisdn, text: 'Hello' })).uid));
    await it.allFinal(NUMBERS.length);
    expectExactlyOne(it, uids);
    expect(it.gateway.requests.get).toBeGreaterThanOrEqual(NUMBERS.length);
    expect(it.events.every(({ confirmed }) => confirmed)).toBe(true);
  });

  it('two callbacks that contradict each other: the second is confirmed, also when the gateway is down at that time', async () => {
    const it = await world({ tracking: SHORT }, { lifecycle: false });
    const { uid } = await it.sms.send({ msisdn: NUMBERS[0]!, text: 'Hello', ref: 'order 1' });
    await it.gateway.report(uid, 'delivered');
    await it.relay.down();
    await it.gateway.report(uid, 'failed');
    await later(500);
    expect(it.events.map(({ status }) => status)).toEqual(['delivered']);
    const corrected = new Promise<RtSmsStatusEvent>((resolve) =>
      it.onEvent((event) => event.corrects && resolve(event)),
    );
    await it.relay.up();
    await expect(corrected).resolves.toMatchObject({
      uid,
      status: 'failed',
      corrects: 'delivered',
      confirmed: true,
      ref: 'order 1',
    });
    expect(it.events).toHaveLength(2);
  });

  it('a restart: what tracking.open names is asked for at once, and ends as if there had been none', async () => {
    const before = await world({ tracking: { schedule: [3_600_000] } }, { lifecycle: { awaitingMs: 10, finalMs: 50 } });
    before.gateway.callTo(undefined);
    const journal: OpenUid[] = [];
    for (let n = 0; n < 20; n++) {
      const { uid } = await before.sms.send({ msisdn: NUMBERS[0]!, text: 'Hello' });
      journal.push({ uid, sentAt: new Date(Date.now() - 7_200_000), ref: `order ${n}` });
    }
    while (before.gateway.messages.some(({ status }) => status !== 'delivered')) await once(before.gateway, 'status');
    await before.app.close();
    expect(before.events).toEqual([]);
    const events: RtSmsStatusEvent[] = [];
    @Module({
      imports: [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({
          ...before.gateway.options,
          shortcode: 'SHOP',
          callback: { secrets: SECRET },
          tracking: { open: () => journal },
        }),
      ],
    })
    class AppModule {}
    let all = () => undefined as void;
    const told = new Promise<void>((resolve) => (all = resolve));
    await start('express', { imports: [AppModule] }, (application) => {
      application.get(RtSmsService).statuses$.subscribe((event) => {
        if (events.push(event) === journal.length) all();
      });
    });
    await told;
    expect(events.map(({ ref, status }) => `${ref} ${status}`).toSorted()).toEqual(
      journal.map((_, n) => `order ${n} delivered`).toSorted(),
    );
  });

  it('control: without tracking.open a restart forgets', async () => {
    const it = await world({ tracking: SHORT }, { lifecycle: false });
    const { url, options } = it.gateway;
    const response = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${options.login}:${options.password}`)}` },
      body: JSON.stringify({ msisdn: NUMBERS[0], text: 'Hello', shortcode: 'SHOP' }),
    });
    expect(response.status).toBe(200);
    await later(1_000);
    expect(it.gateway.requests.get).toBe(0);
    // Its callback is still believed and emitted.
    await it.gateway.report(it.gateway.messages[0]!.uid, 'delivered');
    expect(it.events).toMatchObject([{ status: 'delivered' }]);
  });
});

describe('handlers', () => {
  it('one that never settles holds up neither the other messages nor the other handlers', async () => {
    const it = await world({}, { lifecycle: false });
    let release = () => undefined as void;
    const never = new Promise<void>((resolve) => (release = resolve));
    atEnd(() => release());
    it.onEvent(() => never);
    const seen: string[] = [];
    it.sms.statuses$.subscribe(({ uid }) => seen.push(uid));
    const uids = await Promise.all(NUMBERS.map(async (msisdn) => (await it.sms.send({ msisdn, text: 'Hello' })).uid));
    for (const uid of uids) await it.gateway.report(uid, 'delivered');
    expect(seen).toEqual(uids);
    expect(it.events.map(({ uid }) => uid)).toEqual(uids);
    await expect(it.sms.waitForFinal(uids[0]!)).resolves.toMatchObject({ status: 'delivered' });
  });
});

describe('the end of the application', () => {
  it('comes at once with thousands of messages followed and requests on their way, and nothing is emitted after it', async () => {
    const it = await world({ tracking: { schedule: [50], perSecond: 10_000 } }, { lifecycle: false, latencyMs: 100 });
    const uids = Array.from({ length: 10_000 }, (_, n) => `message-id-${n}`);
    const { uid } = await it.sms.send({ msisdn: NUMBERS[0]!, text: 'Hello' });
    await it.sms.track(uids);
    const waiting = it.sms.waitForFinal(uid);
    const ended = expect(waiting).rejects.toMatchObject({ name: 'RtSmsAbortedError', operation: 'wait' });
    while (it.gateway.requests.get < 100) await once(it.gateway, 'exchange');
    it.events.splice(0);
    const began = performance.now();
    const closing = it.app.close().then(() => performance.now() - began);
    const lateMs = await lateBy(1_000, closing);
    const tookMs = await closing;
    await ended;
    // Requests that were being written at the end have arrived by now.
    await later(100);
    const requests = it.gateway.requests.get;
    await later(300);
    expect(lateMs).toBeLessThan(500);
    expect(it.gateway.requests.get).toBe(requests);
    expect(it.events.filter(({ final }) => final)).toEqual([]);
    note(`close() with 10,000 followed: ${Math.round(tookMs)} ms`);
  });
});

describe.each(PLATFORMS)('forged hints over HTTP on %s', (platform) => {
  it('2,000 about unknown messages are answered, and cost no request and no event', async () => {
    const it = await world({ callback: {} }, { lifecycle: false }, platform);
    let next = 0;
    const codes = new Set<number>();
    const forge = async () => {
      while (next < 2_000) {
        const response = await fetch(`${it.callbacks}?id=message-id-forged${next++}&status=delivered&parts=1`);
        codes.add(response.status);
        await response.text();
      }
    };
    await Promise.all(Array.from({ length: 20 }, forge));
    expect([...codes]).toEqual([200]);
    expect(it.gateway.requests).toEqual({ post: 0, get: 0 });
    expect(it.events).toEqual([]);
  });

  it('a thousand about a known message make one request a second', async () => {
    const it = await world({ callback: {} }, { lifecycle: false }, platform);
    const { uid } = await it.sms.send({ msisdn: NUMBERS[0]!, text: 'Hello' });
    const began = performance.now();
    for (let n = 0; n < 1_000; n++) await it.sms.handleCallback({ id: uid, status: 'delivered' });
    while (it.gateway.requests.get < 1) await once(it.gateway, 'exchange');
    await later(100);
    expect(it.gateway.requests.get).toBeLessThanOrEqual(1 + (performance.now() - began) / 1_000);
    expect(it.events.filter(({ final }) => final)).toEqual([]);
  });
});

describe('memory, in a process of its own', () => {
  async function measure(...args: string[]): Promise<Record<string, number>> {
    const child = fork(new URL('./child/tracking-memory.ts', import.meta.url), args, {
      execArgv: ['--expose-gc', '--import', new URL('./child/ts.mjs', import.meta.url).href],
    });
    atEnd(() => child.kill('SIGKILL'));
    const exit = once(child, 'exit');
    const told = once(child, 'message') as Promise<[Record<string, number>]>;
    const first = await Promise.race([told, exit.then(([code]) => Promise.reject(new Error(`ended with ${code}`)))]);
    await exit;
    return first[0];
  }

  it('100,000 messages take 512 bytes each at most, followed or settled', async () => {
    const { followed, remembered, finals } = await measure('tracked', '100000');
    note(
      `memory: ${Math.round(followed!)} bytes a followed message, ${Math.round(remembered!)} a settled one that is remembered`,
    );
    expect(finals).toBe(100_000);
    expect(followed).toBeLessThanOrEqual(512);
    expect(remembered).toBeLessThanOrEqual(512);
  });

  it('1,000,000 forged hints about unknown messages: no request, no event, no memory', async () => {
    const { requests, growthMb, events } = await measure('hints', '1000000');
    note(`1,000,000 forged hints: ${requests} requests, ${growthMb!.toFixed(2)} MB`);
    expect({ requests, events }).toEqual({ requests: 0, events: 0 });
    expect(growthMb).toBeLessThanOrEqual(5);
  });

  it('200,000 callbacks about invented uids with the right secret: one event each, no memory', async () => {
    const { events, repeated, growthMb } = await measure('invented', '200000');
    note(`200,000 invented uids: ${growthMb!.toFixed(2)} MB`);
    expect({ events, repeated }).toEqual({ events: 200_000, repeated: 0 });
    expect(growthMb).toBeLessThanOrEqual(5);
  });

  it('sendMany over a long generator: the resident set stays flat', async () => {
    const { growthMb, residentMb, perSecond, done } = await measure('rows', '50000');
    note(
      `sendMany of ${done}: ${growthMb!.toFixed(1)} MB more in the second half, ${Math.round(residentMb!)} MB resident, ${Math.round(perSecond!)} a second`,
    );
    expect(growthMb).toBeLessThan(5);
  });

  it('control: a run that keeps the results grows', async () => {
    const { growthMb } = await measure('rows', '50000', 'keep');
    expect(growthMb).toBeGreaterThan(5);
  });
});
