import { runInNewContext } from 'node:vm';
import type { Logger } from '@nestjs/common';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { jest } from '@jest/globals';
import { filter, map } from 'rxjs';
import { RtSmsEvents, RtSmsStatusEvent } from './events.js';
import { EventPublisher } from './event-publisher.js';

const statusEvent = (status: RtSmsStatusEvent['status'] = 'delivered', uid = 'message-id-VvkmLHkfhCX9') =>
  new RtSmsStatusEvent({
    account: 'default',
    uid,
    status,
    gatewayStatus: status,
    final: status !== 'awaiting_report',
    source: 'callback',
    confirmed: false,
    receivedAt: new Date(),
  });

interface Line {
  level: 'error' | 'warn';
  text: string;
  frames: string | undefined;
}

function publisher(ready: Promise<void> = Promise.resolve(), emitter = new EventEmitter2()) {
  const log: Line[] = [];
  const write = (level: Line['level']) => (text: string, frames?: string) => log.push({ level, text, frames });
  const logger = { error: write('error'), warn: write('warn') } as unknown as Logger;
  return { emitter, log, publisher: new EventPublisher(emitter, ready, logger) };
}
/** Registers a listener whose return value matters. */
const listen = (emitter: EventEmitter2, name: string, listener: (event: RtSmsStatusEvent) => unknown) =>
  emitter.on(name, listener);
/** A promise with the functions that settle it. */
function defer<T = void>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

afterEach(() => {
  jest.useRealTimers();
});

describe('a status', () => {
  it('is emitted under both names as the same frozen event', async () => {
    const { publisher: it, emitter } = publisher();
    const seen: [string, unknown][] = [];
    listen(emitter, 'rt-sms.status', (event) => seen.push(['any', event]));
    listen(emitter, 'rt-sms.status.delivered', (event) => seen.push(['delivered', event]));
    listen(emitter, 'rt-sms.status.failed', (event) => seen.push(['failed', event]));
    const event = statusEvent();
    await expect(it.status(event)).resolves.toBe(true);
    expect(seen).toEqual([
      ['any', event],
      ['delivered', event],
    ]);
    expect(Object.isFrozen(event)).toBe(true);
  });

  it('is emitted by a wildcard emitter as well, for any pattern', async () => {
    const emitter = new EventEmitter2({ wildcard: true });
    const { publisher: it } = publisher(undefined, emitter);
    const seen: string[] = [];
    const on = (pattern: string) =>
      listen(emitter, pattern, () => seen.push(`${pattern} < ${String(eventOf(emitter))}`));
    for (const pattern of ['rt-sms.**', 'rt-sms.status', 'rt-sms.status.*', 'rt-sms.*', 'other.*']) on(pattern);
    emitter.onAny((name) => seen.push(`any < ${String(name)}`));
    await it.status(statusEvent('failed'));
    await it.publish([RtSmsEvents.refused], { id: 'order 1' }, 'order 1');
    expect(new Set(seen)).toEqual(
      new Set([
        'rt-sms.status < rt-sms.status',
        'rt-sms.* < rt-sms.status',
        'rt-sms.** < rt-sms.status',
        'any < rt-sms.status',
        'rt-sms.status.* < rt-sms.status.failed',
        'rt-sms.** < rt-sms.status.failed',
        'any < rt-sms.status.failed',
        'rt-sms.** < rt-sms.refused',
        'rt-sms.* < rt-sms.refused',
        'any < rt-sms.refused',
      ]),
    );
    expect(seen).toHaveLength(10);
  });
  const eventOf = (emitter: EventEmitter2) => (emitter as EventEmitter2 & { event: unknown }).event;

  it('reaches a once() listener once, and all listeners that remove themselves', async () => {
    const { publisher: it, emitter } = publisher();
    const seen: string[] = [];
    emitter.once('rt-sms.status', () => seen.push('once'));
    for (const name of ['first', 'second']) {
      const self = () => {
        emitter.offAny(self);
        seen.push(name);
      };
      emitter.onAny(self);
    }
    await it.status(statusEvent());
    await it.status(statusEvent('failed', 'message-id-2'));
    expect(seen).toEqual(['once', 'first', 'second']);
  });
});

describe('handlers', () => {
  it('are awaited, the handlers of both names together', async () => {
    const { publisher: it, emitter } = publisher();
    const [first, second] = [defer(), defer()];
    listen(emitter, 'rt-sms.status', () => first.promise);
    listen(emitter, 'rt-sms.status.delivered', () => second.promise);
    let settled = false;
    const done = it.status(statusEvent()).then((ok) => (settled = ok));
    second.resolve();
    await new Promise(setImmediate);
    expect(settled).toBe(false);
    first.resolve();
    await done;
    expect(settled).toBe(true);
  });

  it('a rejection with an unreadable value does not affect other handlers', async () => {
    const { publisher: it, emitter, log } = publisher();
    const { proxy, revoke } = Proxy.revocable(new Error('boom'), {});
    revoke();
    listen(emitter, 'rt-sms.status', async () => Promise.reject(proxy));
    await expect(it.status(statusEvent())).resolves.toBe(false);
    expect(it.failures).toBe(1);
    expect(log).toHaveLength(1);
  });

  const failing: [string, () => unknown][] = [
    [
      'throws',
      () => {
        throw new Error('boom');
      },
    ],
    ['rejects', async () => Promise.reject(new Error('boom'))],
    // Under Jest, Node's promises belong to another realm than the code.
    ['rejects with a promise of another realm', () => runInNewContext("Promise.reject(new Error('boom'))") as unknown],
  ];
  it.each(failing)(
    'a handler that %s does not affect others; it is counted and logged with the event id',
    async (_, fail) => {
      const { publisher: it, emitter, log } = publisher();
      const seen: string[] = [];
      listen(emitter, 'rt-sms.status', fail);
      listen(emitter, 'rt-sms.status', () => seen.push('after it'));
      listen(emitter, 'rt-sms.status.delivered', async () => seen.push('by the other name'));
      it.statuses$.subscribe(() => seen.push('statuses$'));
      await expect(it.status(statusEvent())).resolves.toBe(false);
      expect(seen).toEqual(['after it', 'by the other name', 'statuses$']);
      expect(it.failures).toBe(1);
      expect(log).toEqual([
        {
          level: 'error',
          text: 'a handler of rt-sms.status for the event default:message-id-VvkmLHkfhCX9:delivered failed: boom',
          frames: expect.stringMatching(/^ {4}at /),
        },
      ]);
      await expect(it.status(statusEvent('failed', 'message-id-2'))).resolves.toBe(false);
      expect(it.failures).toBe(2);
    },
  );

  it.each([
    ['undefined', undefined],
    ['a text', 'boom'],
    ['an object without a text form', Object.create(null)],
    ['an error with an invalid stack', Object.assign(new Error('x'), { stack: 7 })],
  ])('can throw %s', async (_, thrown) => {
    const { publisher: it, emitter, log } = publisher();
    listen(emitter, 'rt-sms.status', () => Promise.reject(thrown));
    await expect(it.status(statusEvent())).resolves.toBe(false);
    expect(log).toHaveLength(1);
  });

  it('are logged in one line if they fail, without personal data', async () => {
    const { publisher: it, emitter, log } = publisher();
    listen(emitter, 'rt-sms.refused', () => {
      throw new Error('INSERT failed for 79270000001:\n    at home, 10:30:15\nInjected: line\u001B[31m');
    });
    await it.publish([RtSmsEvents.refused], {}, 'order of 79270000001\nInjected: line');
    const [line] = log;
    expect(line!.text).toBe(
      'a handler of rt-sms.refused for the event order of 7927*****01 Injected: line failed: ' +
        'INSERT failed for 7927*****01:     at home, 10:30:15 Injected: line [31m',
    );
    expect(line!.frames).toMatch(/^ {4}at .*publisher\.spec/);
    expect(line!.frames).not.toMatch(/79270000001|home|Injected/);
  });

  it('a handler that never settles does not delay other messages, delays its own for 30 s, and leads to a warning', async () => {
    jest.useFakeTimers();
    const { publisher: it, emitter, log } = publisher();
    await Promise.resolve();
    const seen: string[] = [];
    listen(emitter, 'rt-sms.status', ({ id, status }: RtSmsStatusEvent) => {
      seen.push(id);
      return status === 'awaiting_report' ? new Promise(() => undefined) : undefined;
    });
    const first = it.status(statusEvent('awaiting_report', 'message-id-1'));
    void it.status(statusEvent('delivered', 'message-id-1'));
    await expect(it.status(statusEvent('delivered', 'message-id-2'))).resolves.toBe(true);
    expect(seen).toEqual(['default:message-id-1:awaiting_report', 'default:message-id-2:delivered']);
    await jest.advanceTimersByTimeAsync(29_999);
    expect(seen).toHaveLength(2);
    expect(log).toEqual([]);
    await jest.advanceTimersByTimeAsync(1);
    await expect(first).resolves.toBe(false);
    expect(it.failures).toBe(1);
    expect(seen[2]).toBe('default:message-id-1:delivered');
    expect(log).toEqual([
      {
        level: 'warn',
        text: 'A handler of rt-sms.status for the event default:message-id-1:awaiting_report has not ended after 30 s and counts as failed',
        frames: undefined,
      },
    ]);
    // One warning, and no timer is left.
    await jest.advanceTimersByTimeAsync(60_000);
    expect(log).toHaveLength(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('two handlers that never settle lead to one warning each, 30 s after their start', async () => {
    jest.useFakeTimers();
    const { publisher: it, emitter, log } = publisher();
    await Promise.resolve();
    listen(emitter, 'rt-sms.status', () => new Promise(() => undefined));
    void it.status(statusEvent('delivered', 'message-id-1'));
    await jest.advanceTimersByTimeAsync(10_000);
    void it.status(statusEvent('delivered', 'message-id-2'));
    await jest.advanceTimersByTimeAsync(29_999);
    expect(log).toHaveLength(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(log).toHaveLength(2);
  });

  it('share one timer, which ends when no handler is running', async () => {
    jest.useFakeTimers();
    const { publisher: it, emitter } = publisher();
    await Promise.resolve();
    listen(emitter, 'rt-sms.status', async () => undefined);
    for (let n = 0; n < 100; n++) await it.status(statusEvent('delivered', `message-id-${n}`));
    expect(jest.getTimerCount()).toBe(1);
    await jest.advanceTimersByTimeAsync(30_000);
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('order', () => {
  it('the statuses of one message are emitted one after the other, also with a slow first handler', async () => {
    const { publisher: it, emitter } = publisher();
    const slow = defer();
    const seen: string[] = [];
    listen(emitter, 'rt-sms.status', async ({ uid, status }: RtSmsStatusEvent) => {
      seen.push(`${uid} ${status} begins`);
      if (uid === 'message-id-1' && status === 'awaiting_report') await slow.promise;
      seen.push(`${uid} ${status} ends`);
    });
    const all = [
      it.status(statusEvent('awaiting_report', 'message-id-1')),
      it.status(statusEvent('delivered', 'message-id-1')),
      it.status(statusEvent('failed', 'message-id-1')),
      it.status(statusEvent('delivered', 'message-id-2')),
    ];
    await all[3];
    expect(seen).toEqual([
      'message-id-1 awaiting_report begins',
      'message-id-2 delivered begins',
      'message-id-2 delivered ends',
    ]);
    slow.resolve();
    await Promise.all(all);
    expect(seen.slice(3)).toEqual([
      'message-id-1 awaiting_report ends',
      'message-id-1 delivered begins',
      'message-id-1 delivered ends',
      'message-id-1 failed begins',
      'message-id-1 failed ends',
    ]);
  });

  it('a failed handler does not delay the next status', async () => {
    const { publisher: it, emitter } = publisher();
    const seen: string[] = [];
    listen(emitter, 'rt-sms.status', async ({ status }: RtSmsStatusEvent) => {
      seen.push(status);
      if (status === 'awaiting_report') throw new Error('boom');
    });
    const first = it.status(statusEvent('awaiting_report'));
    await expect(it.status(statusEvent('delivered'))).resolves.toBe(true);
    await expect(first).resolves.toBe(false);
    expect(seen).toEqual(['awaiting_report', 'delivered']);
  });
});

describe('start and end', () => {
  it('nothing is emitted before the listeners are registered; then everything is emitted in order', async () => {
    const ready = defer();
    const { publisher: it, emitter } = publisher(ready.promise);
    const seen: string[] = [];
    listen(emitter, 'rt-sms.status', ({ status }: RtSmsStatusEvent) => seen.push(status));
    it.statuses$.subscribe(({ status }) => seen.push(`${status} (statuses$)`));
    const all = [it.status(statusEvent('awaiting_report')), it.status(statusEvent('delivered'))];
    await new Promise(setImmediate);
    expect(seen).toEqual([]);
    ready.resolve();
    await Promise.all(all);
    expect(seen).toEqual(['awaiting_report', 'awaiting_report (statuses$)', 'delivered', 'delivered (statuses$)']);
  });

  it('nothing is emitted after the end, including events that waited for the start or for a slow handler', async () => {
    const ready = defer();
    const { publisher: it, emitter } = publisher(ready.promise);
    const seen: string[] = [];
    const slow = defer();
    listen(emitter, 'rt-sms.status', ({ status }: RtSmsStatusEvent) => {
      seen.push(status);
      return slow.promise;
    });
    const before = it.status(statusEvent());
    await it.close();
    ready.resolve();
    await expect(before).resolves.toBe(false);
    await expect(it.status(statusEvent())).resolves.toBe(false);
    expect(seen).toEqual([]);

    const { publisher: other } = publisher(Promise.resolve(), emitter);
    await Promise.resolve();
    const running = other.status(statusEvent('awaiting_report'));
    const next = other.status(statusEvent('delivered'));
    const closing = other.close();
    slow.resolve();
    await closing;
    await expect(running).resolves.toBe(true);
    await expect(next).resolves.toBe(false);
    expect(seen).toEqual(['awaiting_report']);
  });

  it('with a limit of its engine, a handler that ends too late changes nothing', async () => {
    const { publisher: it, emitter, log } = publisher();
    it.handlerTimeoutMs = 20;
    await Promise.resolve();
    const late = defer();
    listen(emitter, 'rt-sms.status', () => late.promise);
    await expect(it.status(statusEvent())).resolves.toBe(false);
    late.resolve();
    await new Promise(setImmediate);
    expect(it.failures).toBe(1);
    expect(log.map(({ text }) => text)).toEqual([expect.stringContaining('has not ended after 0.02 s')]);
  });

  it('the end waits for running handlers for a limited time, and completes statuses$', async () => {
    const { publisher: it, emitter } = publisher();
    await Promise.resolve();
    listen(emitter, 'rt-sms.status', () => new Promise(() => undefined));
    let completed = false;
    it.statuses$.subscribe({ complete: () => (completed = true) });
    const hung = it.status(statusEvent());
    const began = performance.now();
    it.limit(100);
    await it.close();
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(95);
    expect(took).toBeLessThan(1_000);
    await expect(hung).resolves.toBe(false);
    expect(completed).toBe(true);
  });

  it('listeners that could not be registered cause no unhandled rejection', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', note);
    const ready = defer();
    const { publisher: it } = publisher(ready.promise);
    const waiting = it.status(statusEvent());
    ready.reject(new Error('no listeners'));
    await expect(waiting).resolves.toBe(false);
    await expect(it.status(statusEvent('failed'))).resolves.toBe(false);
    await new Promise(setImmediate);
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });
});

describe('statuses$', () => {
  it('a subscriber that throws does not affect others; its error is counted and not thrown as an uncaught exception', async () => {
    const uncaught: unknown[] = [];
    const note = (error: unknown) => uncaught.push(error);
    process.on('uncaughtException', note);
    const { publisher: it, log } = publisher();
    const seen: string[] = [];
    it.statuses$.subscribe(() => {
      throw new Error('boom');
    });
    it.statuses$
      .pipe(
        filter(({ final }) => final),
        map(({ status }) => status),
      )
      .subscribe({
        next: () => {
          throw new Error('behind operators');
        },
      });
    it.statuses$.subscribe(({ status }) => seen.push(status));
    await it.status(statusEvent('awaiting_report', 'message-id-1'));
    await it.status(statusEvent('delivered', 'message-id-1'));
    // rxjs reports errors with timers of 0 ms, which were set before this one.
    await new Promise((resolve) => setTimeout(resolve));
    process.off('uncaughtException', note);
    expect(seen).toEqual(['awaiting_report', 'delivered']);
    expect(uncaught).toEqual([]);
    expect(log.map(({ text }) => text)).toEqual([
      'a subscriber of statuses$ failed: boom',
      'a subscriber of statuses$ failed: boom',
      'a subscriber of statuses$ failed: behind operators',
    ]);
    expect(it.failures).toBe(3);
  });

  it('an operator that throws ends only its subscription', async () => {
    const { publisher: it, log } = publisher();
    const seen: string[] = [];
    it.statuses$
      .pipe(
        map(() => {
          throw new Error('in an operator');
        }),
      )
      .subscribe();
    it.statuses$.subscribe(({ status }) => seen.push(status));
    await it.status(statusEvent('awaiting_report'));
    await it.status(statusEvent('delivered'));
    expect(seen).toEqual(['awaiting_report', 'delivered']);
    expect(log.map(({ text }) => text)).toEqual(['a subscriber of statuses$ failed: in an operator']);
  });

  it('emits only statuses, and nothing after unsubscribe()', async () => {
    const { publisher: it } = publisher();
    const seen: unknown[] = [];
    const subscription = it.statuses$.subscribe((event) => seen.push(event));
    const event = statusEvent();
    await it.status(event);
    await it.publish([RtSmsEvents.unresolved], { uid: 'x' }, 'x');
    subscription.unsubscribe();
    await it.status(statusEvent('failed'));
    expect(seen).toEqual([event]);
  });
});
