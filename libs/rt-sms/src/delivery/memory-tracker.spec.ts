import { getMaxListeners } from 'node:events';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import fc from 'fast-check';
import type { RtSmsStatusEvent } from '../events/events.js';
import type { SmsStatusReport } from '../gateway/wire.js';
import { isFinal, SMS_STATUSES, type DeliveryReport, type SmsStatus } from '../message/status.js';
import {
  RtSmsAbortedError,
  RtSmsAuthError,
  RtSmsConnectionError,
  RtSmsNotFoundError,
  RtSmsTimeoutError,
} from '../rt-sms.errors.js';
import type { CallOptions } from '../gateway/call-options.js';
import { resolveOptions, TRACKING } from '../options/resolve-options.js';
import type { OpenUid, RtSmsTracking } from '../options/rt-sms.options.js';
import { AuthCircuitBreaker } from '../gateway/auth-circuit-breaker.js';
import { FinalStatusWaiters } from './final-status-waiters.js';
import { MemoryTracker } from './memory-tracker.js';
import { trackOpenUids } from './open-uids.js';

const report = (uid: string, word: string): DeliveryReport => {
  const status = (SMS_STATUSES as readonly string[]).includes(word) ? (word as SmsStatus) : 'unknown';
  return { uid, status, gatewayStatus: word };
};
const down = () => new RtSmsConnectionError('down', false, { operation: 'status' });
const notFound = () => new RtSmsNotFoundError('transaction_not_found', { operation: 'status', httpStatus: 200 });
const wrongIp = () => new RtSmsAuthError('wrong_ip', { operation: 'status', httpStatus: 403 });
const FINALS = SMS_STATUSES.filter(isFinal);
const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;

/** A tracker with a gateway that the test controls. Times of requests and events count from its start. */
function tracking(options: RtSmsTracking | false = {}, connections = 10) {
  const resolved = resolveOptions(
    { login: 'l', password: 'p', connections, tracking: options, callback: { secrets: 'a-secret-of-sixteen' } },
    'default',
    true,
  );
  const began = Date.now();
  const logger = new Logger();
  const it = {
    /** Answer of the gateway for each uid: a status, an error, or a promise of a status. */
    answer: (_uid: string): string | Error | Promise<string> => 'awaiting_report',
    polls: [] as { uid: string; at: number }[],
    activePolls: 0,
    maxActivePolls: 0,
    events: [] as RtSmsStatusEvent[],
    overdue: [] as { uid?: string | undefined; lastStatus?: string | undefined; at: number }[],
    unresolved: [] as { uid: string; ref?: string | undefined; lastStatus?: string | undefined; at: number }[],
    breaker: new AuthCircuitBreaker(async () => undefined, logger),
    /** True for a message that another account of the application sent. */
    sentByAnother: (_uid: string): Promise<boolean> | false => false,
    statuses: (uid = 'message-id-1') =>
      it.events
        .filter((event) => event.uid === uid)
        .map(({ status, corrects }) => (corrects ? `${corrects}->${status}` : status)),
    polledAt: (uid = 'message-id-1') => it.polls.filter((request) => request.uid === uid).map(({ at }) => at),
  };
  const waits = new FinalStatusWaiters('default', (resolved.tracking || TRACKING).maxAgeMs);
  const tracker = new MemoryTracker({
    options: resolved,
    logger,
    breaker: it.breaker,
    sentByAnother: (uid) => it.sentByAnother(uid),
    status: async (uid): Promise<SmsStatusReport> => {
      it.polls.push({ uid, at: Date.now() - began });
      it.maxActivePolls = Math.max(it.maxActivePolls, ++it.activePolls);
      try {
        const answer = await it.answer(uid);
        if (answer instanceof Error) throw answer;
        it.breaker.onOutcome();
        const read = report(uid, answer);
        return { ...read, final: isFinal(read.status) };
      } catch (error) {
        it.breaker.onOutcome(error);
        throw error;
      } finally {
        it.activePolls--;
      }
    },
    emit: {
      status: async (event) => {
        waits.notify(event);
        return it.events.push(event) > 0;
      },
      overdue: async (about) => it.overdue.push({ ...about, at: Date.now() - began }) > 0,
      unresolved: async (uid, about) => {
        waits.giveUp(uid);
        return it.unresolved.push({ uid, ...about, at: Date.now() - began }) > 0;
      },
    } as ConstructorParameters<typeof MemoryTracker>[0]['emit'],
  });
  const ending = new AbortController();
  const stop = () => {
    ending.abort();
    tracker.stop();
    waits.stop();
  };
  atEnd.push(stop);
  return Object.assign(it, {
    tracker,
    waits,
    /** Starts in the same order as the service. */
    start: () => {
      tracker.start();
      return trackOpenUids(options ? options.open : undefined, tracker, logger, ending.signal);
    },
    stop,
    waitForFinal: (limits: CallOptions = {}, uid = 'message-id-1') =>
      waits.wait(uid, limits, () => tracker.findFinal(uid)),
    callback: (word: string, uid = 'message-id-1') => void tracker.observe(report(uid, word), 'callback', false),
    pollAnswer: (word: string, uid = 'message-id-1') => void tracker.observe(report(uid, word), 'poll', true),
  });
}
const started = async (...args: Parameters<typeof tracking>) => {
  const it = tracking(...args);
  await it.start();
  return it;
};
const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);
/** A promise that the test resolves. */
function deferred<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
const atEnd: (() => void)[] = [];

const ONE = 'message-id-1';

beforeEach(() => {
  jest.useFakeTimers();
  for (const level of ['error', 'warn', 'log', 'debug'] as const)
    jest.spyOn(Logger.prototype, level).mockImplementation(() => undefined);
});
afterEach(() => {
  for (const end of atEnd.splice(0)) end();
  jest.useRealTimers();
  jest.restoreAllMocks();
});

describe('overdue', () => {
  const AFTER = { afterMs: 90 * SECOND, inMs: 90 * SECOND };

  it('is announced after an extra poll, and the schedule goes on', async () => {
    const it = await started({ schedule: [MINUTE, 2 * MINUTE, HOUR] });
    it.tracker.follow(ONE, { overdue: AFTER });
    await pass(5 * MINUTE);
    expect(it.overdue).toEqual([
      {
        uid: ONE,
        id: undefined,
        ref: undefined,
        lastStatus: 'awaiting_report',
        overdueAfterMs: 90 * SECOND,
        at: 90 * SECOND,
      },
    ]);
    const [first, extra, next] = it.polledAt();
    expect(first).toBeGreaterThanOrEqual(MINUTE);
    expect(extra).toBe(90 * SECOND);
    expect(next! - extra!).toBeGreaterThanOrEqual(2 * MINUTE);
    expect(next! - extra!).toBeLessThanOrEqual(2.4 * MINUTE);
  });

  it('of many messages keeps to perSecond and to half of the connections, and waits for the answers', async () => {
    const it = await started({ perSecond: 10, schedule: [HOUR] }, 4);
    it.answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return 'delivered';
    };
    for (let n = 0; n < 100; n++) it.tracker.follow(`message-id-${n}`, { overdue: { afterMs: SECOND, inMs: SECOND } });
    await pass(20 * SECOND);
    expect(it.polls).toHaveLength(100);
    expect(it.polls.at(-1)!.at).toBeGreaterThan(9 * SECOND);
    expect(it.maxActivePolls).toBeLessThanOrEqual(2);
    expect(it.overdue).toEqual([]);
  });

  it('is announced without an answer if the poll does not get its turn within a minute', async () => {
    const it = await started({ schedule: [HOUR] }, 1);
    it.answer = () => new Promise(() => undefined);
    for (const uid of ['message-id-1', 'message-id-2']) it.tracker.follow(uid, { overdue: AFTER });
    await pass(90 * SECOND + MINUTE - 1);
    expect(it.overdue).toEqual([]);
    await pass(2);
    expect(it.overdue.map(({ uid }) => uid!).toSorted()).toEqual(['message-id-1', 'message-id-2']);
  });

  it('is announced at once, without a request, while the circuit breaker is open', async () => {
    const it = await started({ schedule: [HOUR] });
    it.tracker.follow(ONE, { overdue: AFTER });
    it.breaker.onOutcome(wrongIp());
    await pass(90 * SECOND);
    expect(it.overdue).toHaveLength(1);
    expect(it.polls).toEqual([]);
  });

  it('an answer in flight at that time is enough', async () => {
    const it = await started({ schedule: [HOUR] });
    const answer = deferred<string>();
    it.answer = () => answer.promise;
    it.tracker.follow(ONE, { overdue: AFTER });
    await pass(89 * SECOND);
    it.tracker.requestPoll(ONE, false);
    await pass(2 * SECOND);
    expect(it.overdue).toEqual([]);
    answer.resolve('failed');
    await pass(0);
    expect(it.polls).toHaveLength(1);
    expect(it.statuses()).toEqual(['failed']);
    await pass(HOUR);
    expect(it.overdue).toEqual([]);
  });

  it('is announced for a message that has become unresolved before, without a poll', async () => {
    const it = await started({ schedule: [10 * SECOND], maxAgeMs: 20 * MINUTE });
    it.answer = () => notFound();
    it.tracker.follow(ONE, { overdue: { afterMs: 20 * MINUTE, inMs: 20 * MINUTE } });
    await pass(19 * MINUTE);
    expect(it.unresolved).toHaveLength(1);
    const { length } = it.polls;
    await pass(MINUTE);
    expect(it.overdue).toMatchObject([{ uid: ONE, at: 20 * MINUTE }]);
    expect(it.polls).toHaveLength(length);
  });

  it('comes with a tracking that a listener has started first, and not after stop()', async () => {
    const it = await started({ schedule: [HOUR] });
    it.tracker.follow(ONE);
    it.tracker.follow(ONE, { overdue: AFTER });
    it.tracker.follow('message-id-2', { overdue: { afterMs: HOUR, inMs: HOUR } });
    await pass(90 * SECOND);
    expect(it.overdue).toHaveLength(1);
    it.stop();
    await pass(2 * HOUR);
    expect(it.overdue).toHaveLength(1);
  });
});

describe('the status model', () => {
  it.each(FINALS)('%s is final: the message is no longer tracked', async (status) => {
    const it = await started();
    it.tracker.follow(ONE);
    it.callback(status);
    expect(it.tracker.size).toBe(0);
    await pass(72 * HOUR);
    expect(it.statuses()).toEqual([status]);
    expect(it.polls).toEqual([]);
    expect(it.unresolved).toEqual([]);
  });

  it.each(['awaiting_report', 'expired'])('%s is not final: the message is still tracked', async (word) => {
    const it = await started();
    it.tracker.follow(ONE);
    it.callback(word);
    expect(it.tracker.size).toBe(1);
    it.callback('delivered');
    expect(it.events.map(({ gatewayStatus, final }) => [gatewayStatus, final])).toEqual([
      [word, false],
      ['delivered', true],
    ]);
  });

  it('emits each status of a message once, from callbacks and polls, however often it is reported', async () => {
    const it = await started();
    it.tracker.follow(ONE);
    for (let n = 0; n < 3; n++) {
      it.callback('awaiting_report');
      it.pollAnswer('awaiting_report');
      it.callback('expired');
    }
    for (let n = 0; n < 3; n++) {
      it.callback('delivered');
      it.pollAnswer('delivered');
    }
    expect(it.events.map(({ id }) => id)).toEqual([
      `default:${ONE}:awaiting_report`,
      `default:${ONE}:unknown:expired`,
      `default:${ONE}:delivered`,
    ]);
    const lines = jest.mocked(Logger.prototype.debug).mock.calls.map(([line]) => String(line));
    expect(lines.filter((line) => /^Ignored duplicate status .* for /.test(line) && line.endsWith(ONE))).toHaveLength(
      12,
    );
  });

  it('ignores other statuses after a final one', async () => {
    const it = await started();
    it.tracker.follow(ONE);
    it.callback('delivered');
    it.callback('awaiting_report');
    it.pollAnswer('expired');
    expect(it.statuses()).toEqual(['delivered']);
  });

  it('remembers a limited number of unknown statuses, and still accepts a final status after them', async () => {
    const it = await started();
    it.tracker.follow(ONE);
    for (let n = 0; n < 100; n++) it.callback(`word ${n}`);
    expect(it.events).toHaveLength(16);
    it.callback('delivered');
    expect(it.statuses().at(-1)).toBe('delivered');
  });

  it('a callback that arrives before the answer to its POST counts once the message is tracked, and is not emitted twice', async () => {
    const it = await started();
    it.callback('awaiting_report');
    it.tracker.follow(ONE, { ref: 'order 1' });
    it.callback('awaiting_report');
    it.callback('delivered');
    expect(it.statuses()).toEqual(['awaiting_report', 'delivered']);
    expect(it.events[1]).toMatchObject({ ref: 'order 1' });
    await pass(72 * HOUR);
    expect(it.polls).toEqual([]);
  });

  it('a message with a final status is not tracked', async () => {
    const it = await started();
    it.callback('delivered');
    it.tracker.follow(ONE);
    expect(it.tracker.size).toBe(0);
    await pass(72 * HOUR);
    expect(it.polls).toEqual([]);
    expect(it.statuses()).toEqual(['delivered']);
  });

  describe('two final statuses that contradict each other', () => {
    it('the first is emitted; the second is polled and corrects it if the gateway confirms it', async () => {
      const it = await started();
      it.tracker.follow(ONE, { ref: 'order 1' });
      it.answer = () => 'failed';
      it.callback('delivered');
      it.callback('failed');
      expect(it.statuses()).toEqual(['delivered']);
      await pass(SECOND);
      expect(it.statuses()).toEqual(['delivered', 'delivered->failed']);
      expect(it.events[1]).toMatchObject({
        corrects: 'delivered',
        confirmed: true,
        source: 'callback',
        ref: 'order 1',
      });
      expect(it.polledAt()).toHaveLength(1);
    });

    it('the second is dropped if the gateway does not confirm it', async () => {
      const it = await started();
      it.tracker.follow(ONE);
      it.answer = () => 'delivered';
      it.callback('delivered');
      it.callback('failed');
      await pass(72 * HOUR);
      expect(it.statuses()).toEqual(['delivered']);
      expect(it.polledAt()).toHaveLength(1);
    });

    it.each([
      ['answers, if it is down at that time', down],
      ['returns a final status', () => 'awaiting_report'],
    ])('the second is polled until the gateway %s', async (_, answer) => {
      const it = await started({ schedule: [MINUTE] });
      it.tracker.follow(ONE);
      it.answer = answer;
      it.callback('delivered');
      it.callback('failed');
      await pass(5 * MINUTE);
      expect(it.statuses()).toEqual(['delivered']);
      it.answer = () => 'failed';
      await pass(2 * MINUTE);
      expect(it.statuses()).toEqual(['delivered', 'delivered->failed']);
      const requests = it.polls.length;
      await pass(HOUR);
      expect(it.polls).toHaveLength(requests);
    });

    it('the second is polled for at most maxAgeMs', async () => {
      const it = await started({ schedule: [MINUTE], maxAgeMs: HOUR });
      it.tracker.follow(ONE);
      it.answer = down;
      it.callback('delivered');
      it.callback('failed');
      await pass(72 * HOUR);
      expect(it.polledAt().at(-1)).toBe(HOUR);
      expect(it.unresolved).toEqual([]);
      expect(jest.getTimerCount()).toBe(0);
    });

    it('the second is polled again if a poll in flight may return an older status', async () => {
      const it = await started();
      const old = deferred<string>();
      it.answer = () => old.promise;
      it.tracker.follow(ONE);
      void it.waitForFinal();
      it.callback('delivered');
      it.callback('failed');
      it.answer = () => 'failed';
      old.resolve('delivered');
      await pass(SECOND);
      expect(it.statuses()).toEqual(['delivered', 'delivered->failed']);
      expect(it.polledAt()).toEqual([0, SECOND]);
    });

    it('a correction is final', async () => {
      const it = await started();
      it.tracker.follow(ONE);
      it.pollAnswer('delivered');
      it.pollAnswer('failed');
      it.pollAnswer('delivered');
      it.callback('rejected');
      await pass(HOUR);
      expect(it.statuses()).toEqual(['delivered', 'delivered->failed']);
      expect(it.polls).toEqual([]);
    });

    it('any number of contradicting callbacks leads to one poll, and to a second one for callbacks that arrive during the first', async () => {
      const it = await started();
      it.tracker.follow(ONE);
      it.answer = () => 'delivered';
      it.callback('delivered');
      for (let n = 0; n < 100; n++) it.callback('failed');
      await pass(10 * SECOND);
      expect(it.polledAt()).toEqual([0, SECOND]);
    });
  });

  it('any sequence of reports gives at most one final event without corrects, and at most one correction', async () => {
    const uid = fc.constantFrom('message-id-a', 'message-id-b');
    const word = fc.constantFrom('awaiting_report', 'odd', 'odder', ...FINALS);
    const act = fc.oneof(
      fc.record({ act: fc.constant('callback' as const), uid, word }),
      fc.record({ act: fc.constant('pollAnswer' as const), uid, word }),
      fc.record({ act: fc.constant('follow' as const), uid }),
      fc.record({ act: fc.constant('hint' as const), uid, ask: fc.boolean() }),
      fc.record({ act: fc.constant('answer' as const), word: fc.oneof(word, fc.constantFrom(down(), notFound())) }),
      fc.record({ act: fc.constant('pass' as const), ms: fc.nat({ max: 5_000 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 40 }), async (acts) => {
        const it = await started({ schedule: [500, 1_500], maxAgeMs: HOUR });
        for (const each of acts) {
          if (each.act === 'callback') it.callback(each.word, each.uid);
          else if (each.act === 'pollAnswer') it.pollAnswer(each.word, each.uid);
          else if (each.act === 'follow') it.tracker.follow(each.uid);
          else if (each.act === 'hint') it.tracker.requestPoll(each.uid, each.ask);
          else if (each.act === 'answer') it.answer = () => each.word;
          else await pass(each.ms);
        }
        await pass(MINUTE);
        it.stop();
        expect(new Set(it.events.map(({ id }) => id)).size).toBe(it.events.length);
        for (const message of ['message-id-a', 'message-id-b']) {
          const events = it.events.filter((event) => event.uid === message);
          const finals = events.filter(({ final }) => final);
          const [first, correction] = finals;
          expect(finals.length).toBeLessThanOrEqual(2);
          if (first) {
            expect(first.corrects).toBeUndefined();
            expect(events.slice(events.indexOf(first) + 1)).toEqual(correction ? [correction] : []);
          }
          if (correction) expect(correction).toMatchObject({ corrects: first!.status, confirmed: true });
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('the schedule', () => {
  it('polls after each step, lengthened by at most a fifth, and repeats the last step', async () => {
    const steps = [10 * SECOND, 30 * SECOND, 60 * SECOND];
    const it = await started({ schedule: steps, maxAgeMs: HOUR });
    it.tracker.follow(ONE);
    await pass(HOUR / 2);
    const at = it.polledAt();
    expect(at.length).toBeGreaterThan(20);
    for (const [n, time] of at.entries()) {
      const gap = time - (at[n - 1] ?? 0);
      const step = steps[n] ?? steps.at(-1)!;
      expect(gap).toBeGreaterThanOrEqual(step);
      expect(gap).toBeLessThanOrEqual(1.2 * step + 25);
    }
  });

  it('does not wait longer if the system clock is set back', async () => {
    const it = await started({ schedule: [10 * SECOND] });
    it.tracker.follow(ONE);
    await pass(SECOND);
    jest.setSystemTime(Date.now() - HOUR);
    await pass(12 * SECOND);
    expect(it.polls).toHaveLength(1);
    jest.setSystemTime(Date.now() - HOUR);
    it.tracker.requestPoll(ONE, false);
    await pass(2 * SECOND);
    expect(it.polls).toHaveLength(2);
    await pass(12 * SECOND);
    expect(it.polls).toHaveLength(3);
  });

  it('spreads the polls of messages that were sent together', async () => {
    const it = await started({ schedule: [100 * SECOND], perSecond: 10_000 }, 1_000);
    for (let n = 0; n < 1_000; n++) it.tracker.follow(`message-id-${n}`);
    await pass(121 * SECOND);
    const at = it.polls.map((request) => request.at);
    expect(at).toHaveLength(1_000);
    expect(Math.min(...at)).toBeGreaterThanOrEqual(100 * SECOND);
    expect(Math.min(...at)).toBeLessThan(102 * SECOND);
    expect(Math.max(...at)).toBeGreaterThan(118 * SECOND);
    expect(Math.max(...at)).toBeLessThanOrEqual(120 * SECOND + 1);
  });

  it('polls first after 60 s if a callback is expected, and grows to an hour', async () => {
    const it = await started();
    it.tracker.follow(ONE);
    await pass(72 * HOUR);
    const at = it.polledAt();
    expect(at[0]).toBeGreaterThanOrEqual(MINUTE);
    expect(at[0]).toBeLessThanOrEqual(1.2 * MINUTE);
    const gaps = at.slice(-5, -1).map((time, n) => time - at.at(n - 6)!);
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(HOUR);
    expect(at.length).toBeLessThan(80);
  });

  it('is unresolved after maxAgeMs, with a last poll at the end', async () => {
    const it = await started({ schedule: [25 * MINUTE], maxAgeMs: HOUR });
    it.tracker.follow(ONE, { ref: 'order 1' });
    it.callback('awaiting_report');
    await pass(HOUR);
    expect(it.polledAt().at(-1)).toBe(HOUR);
    expect(it.unresolved).toEqual([{ uid: ONE, ref: 'order 1', lastStatus: 'awaiting_report', at: HOUR }]);
    await pass(72 * HOUR);
    expect(it.unresolved).toHaveLength(1);
    expect(it.polledAt()).toHaveLength(3);
  });

  it('the last poll can still find a final status', async () => {
    const it = await started({ schedule: [25 * MINUTE], maxAgeMs: HOUR });
    it.tracker.follow(ONE);
    await pass(HOUR - 1);
    it.answer = () => 'delivered';
    await pass(1);
    expect(it.statuses()).toEqual(['awaiting_report', 'delivered']);
    expect(it.unresolved).toEqual([]);
  });

  it('a callback after maxAgeMs is still emitted', async () => {
    const it = await started({ schedule: [25 * MINUTE], maxAgeMs: HOUR });
    it.tracker.follow(ONE, { ref: 'order 1' });
    await pass(2 * HOUR);
    it.callback('delivered');
    expect(it.events.at(-1)).toMatchObject({ status: 'delivered', ref: 'order 1' });
  });

  it('while the gateway fails, polls continue until it answers', async () => {
    const it = await started({ schedule: [MINUTE] });
    it.tracker.follow(ONE);
    it.answer = down;
    await pass(HOUR);
    expect(it.polledAt().length).toBeGreaterThan(45);
    it.answer = () => 'delivered';
    await pass(2 * MINUTE);
    expect(it.statuses()).toEqual(['delivered']);
    expect(it.events[0]).toMatchObject({ source: 'poll', confirmed: true });
  });

  it('a uid that the gateway cannot find becomes unresolved after ten minutes, not before', async () => {
    const it = await started({ schedule: [MINUTE] });
    it.tracker.follow(ONE);
    it.answer = notFound;
    await pass(10 * MINUTE);
    expect(it.unresolved).toEqual([]);
    await pass(4 * MINUTE);
    expect(it.unresolved).toMatchObject([{ uid: ONE }]);
    const [first] = it.polledAt();
    expect(it.unresolved[0]!.at - first!).toBeGreaterThanOrEqual(10 * MINUTE);
  });

  it('the ten minutes start again if the gateway found the uid in between', async () => {
    const it = await started({ schedule: [MINUTE] });
    it.tracker.follow(ONE);
    it.answer = notFound;
    await pass(8 * MINUTE);
    it.answer = () => 'awaiting_report';
    await pass(2 * MINUTE);
    it.answer = notFound;
    await pass(9 * MINUTE);
    expect(it.unresolved).toEqual([]);
  });

  it('starts at most perSecond polls in a second, and uses half of the connections for them', async () => {
    const it = await started({ schedule: [SECOND], perSecond: 20 }, 8);
    it.answer = () => new Promise((resolve) => setTimeout(() => resolve('delivered'), 150));
    for (let n = 0; n < 100; n++) it.tracker.follow(`message-id-${n}`);
    await pass(10 * SECOND);
    const at = it.polls.map((request) => request.at);
    expect(at).toHaveLength(100);
    for (const time of at) {
      expect(at.filter((other) => other >= time && other < time + SECOND).length).toBeLessThanOrEqual(20);
    }
    expect(it.maxActivePolls).toBe(4);
    // The rate is fully used.
    expect(at.at(-1)!).toBeLessThan(SECOND * 1.2 + 5.5 * SECOND);
  });

  it('slow answers do not reduce the rate', async () => {
    const it = await started({ schedule: [SECOND], perSecond: 2 }, 100);
    it.answer = () => new Promise((resolve) => setTimeout(() => resolve('delivered'), 5 * SECOND));
    for (let n = 0; n < 30; n++) it.tracker.follow(`message-id-${n}`);
    await pass(11 * SECOND);
    expect(it.polls.length).toBeGreaterThanOrEqual(18);
  });

  it.each([
    ['a Date', (ms: number) => new Date(ms)],
    ['text, as some databases return it', (ms: number) => new Date(ms).toISOString() as unknown as Date],
  ])(
    'a message that was sent before a restart (%s) is polled at once, and then by the step of its age',
    async (_, date) => {
      const it = await started({ schedule: [MINUTE, 2 * MINUTE, 10 * MINUTE], maxAgeMs: 10 * HOUR });
      it.tracker.follow(ONE, { sentAt: date(Date.now() - HOUR) });
      await pass(SECOND);
      expect(it.polledAt()).toEqual([0]);
      await pass(10 * MINUTE - SECOND - 1);
      expect(it.polledAt()).toHaveLength(1);
      await pass(2 * MINUTE + 2);
      expect(it.polledAt()).toHaveLength(2);
      await pass(10 * HOUR);
      // The age counts from `sentAt`.
      expect(it.unresolved).toMatchObject([{ at: 9 * HOUR }]);
    },
  );

  it.each([
    [30 * SECOND, 30 * SECOND, 42 * SECOND],
    [61 * SECOND, 0, 11 * SECOND],
  ])('a message that was sent %d ms ago has its first poll at the usual time', async (age, from, to) => {
    const it = await started({ schedule: [MINUTE, 2 * MINUTE] });
    it.tracker.follow(ONE, { sentAt: new Date(Date.now() - age) });
    await pass(2 * MINUTE);
    expect(it.polledAt()[0]).toBeGreaterThanOrEqual(from);
    expect(it.polledAt()[0]).toBeLessThanOrEqual(to + 1);
    expect(it.polledAt()).toHaveLength(1);
  });

  it('a message older than maxAgeMs is polled once before it is unresolved', async () => {
    const it = await started();
    it.answer = (uid) => (uid === ONE ? 'delivered' : 'awaiting_report');
    it.tracker.follow(ONE, { sentAt: new Date(Date.now() - 100 * HOUR) });
    it.tracker.follow('message-id-2', { sentAt: new Date(Date.now() - 100 * HOUR) });
    await pass(SECOND);
    expect(it.statuses()).toEqual(['delivered']);
    expect(it.unresolved).toMatchObject([{ uid: 'message-id-2', lastStatus: 'awaiting_report' }]);
  });

  it.each([new Date(Number.NaN), new Date(Date.now() + HOUR), null as unknown as Date])(
    'the sentAt %p is replaced by now',
    async (sentAt) => {
      const it = await started({ schedule: [MINUTE], maxAgeMs: HOUR });
      it.tracker.follow(ONE, { sentAt });
      await pass(72 * HOUR);
      expect(it.unresolved).toMatchObject([{ at: HOUR }]);
    },
  );
});

describe('limits', () => {
  it('beyond limit the messages that are given up have no timers either', async () => {
    const it = await started({ limit: 3 });
    const overdue = { afterMs: MINUTE, inMs: MINUTE };
    for (let n = 1; n <= 5; n++) it.tracker.follow(`message-id-${n}`, { overdue });
    await pass(HOUR);
    expect(it.overdue.map(({ uid }) => uid!).toSorted()).toEqual(['message-id-3', 'message-id-4', 'message-id-5']);
  });

  it('beyond limit the message that was tracked first becomes unresolved', async () => {
    const it = await started({ limit: 3 });
    for (let n = 1; n <= 5; n++) it.tracker.follow(`message-id-${n}`, { ref: `order ${n}` });
    expect(it.unresolved.map(({ uid, ref }) => [uid, ref])).toEqual([
      ['message-id-1', 'order 1'],
      ['message-id-2', 'order 2'],
    ]);
    expect(it.tracker.size).toBe(3);
  });

  it('keeps the limit within a hundredth, and logs one warning for many messages', async () => {
    const it = await started({ limit: 10_000 });
    for (let n = 0; n < 100_000; n++) it.tracker.follow(`message-id-${n}`);
    expect(it.tracker.size).toBeLessThanOrEqual(10_100);
    expect(it.unresolved.length + it.tracker.size).toBe(100_000);
    expect(jest.mocked(Logger.prototype.warn).mock.calls.length).toBeLessThan(1_000);
  });

  it.each([0, 10])('remembers as many settled uids as the option remember: %d', async (remember) => {
    const it = await started({ remember });
    for (let n = 0; n < 20; n++) it.callback('delivered', `message-id-${n}`);
    for (let n = 19; n >= 0; n--) it.callback('delivered', `message-id-${n}`);
    expect(it.events).toHaveLength(40 - remember);
  });

  it('a contradiction is settled by a poll even if the message is forgotten meanwhile', async () => {
    const it = await started({ remember: 1 });
    it.answer = () => 'failed';
    for (const uid of [ONE, 'message-id-2']) it.tracker.follow(uid);
    it.callback('delivered');
    it.callback('failed');
    it.callback('delivered', 'message-id-2');
    await pass(SECOND);
    expect(it.statuses()).toEqual(['delivered', 'delivered->failed']);
  });

  it('is as fast with full memory as with empty memory', async () => {
    const it = await started({ remember: 100_000 });
    jest.useRealTimers();
    const timed = (from: number) => {
      const began = performance.now();
      for (let n = from; n < from + 100_000; n++) it.callback('delivered', `message-id-${n}`);
      return performance.now() - began;
    };
    const empty = timed(0);
    expect(timed(100_000)).toBeLessThan(3 * empty + 2_000);
  });
});

describe('hints', () => {
  it('a hint leads to a poll of a tracked message within a second, at once if there was no recent poll', async () => {
    const it = await started();
    it.tracker.follow(ONE);
    it.answer = () => 'delivered';
    it.tracker.requestPoll(ONE, false);
    await pass(0);
    expect(it.polledAt()).toEqual([0]);
    expect(it.events).toMatchObject([{ status: 'delivered', source: 'callback', confirmed: true }]);
  });

  it('hints about messages that are not tracked cost nothing', async () => {
    const it = await started();
    it.tracker.follow(ONE);
    it.callback('delivered');
    for (let n = 0; n < 1_000; n++) it.tracker.requestPoll(`message-id-${n}`, false);
    await pass(HOUR);
    expect(it.polls).toEqual([]);
    expect(it.tracker.size).toBe(0);
  });

  it('any number of hints about one message lead to one poll a second', async () => {
    const it = await started();
    it.tracker.follow(ONE);
    for (let n = 0; n < 1_000; n++) {
      it.tracker.requestPoll(ONE, false);
      await pass(10);
    }
    const at = it.polledAt();
    expect(at.length).toBeGreaterThanOrEqual(9);
    expect(at.length).toBeLessThanOrEqual(11);
    for (const [n, time] of at.entries()) if (n > 0) expect(time - at[n - 1]!).toBeGreaterThanOrEqual(SECOND);
  });

  it('one poll at a time for each message; hints during a poll lead to one more', async () => {
    const it = await started();
    const slow = deferred<string>();
    it.answer = () => slow.promise;
    it.tracker.follow(ONE);
    it.tracker.requestPoll(ONE, false);
    await pass(5 * SECOND);
    for (let n = 0; n < 10; n++) it.tracker.requestPoll(ONE, false);
    await pass(5 * SECOND);
    expect(it.maxActivePolls).toBe(1);
    expect(it.polledAt()).toEqual([0]);
    it.answer = () => 'delivered';
    slow.resolve('awaiting_report');
    await pass(0);
    expect(it.polledAt()).toEqual([0, 10 * SECOND]);
    expect(it.events).toMatchObject([{ source: 'callback' }, { status: 'delivered', source: 'callback' }]);
  });

  it('a hint during the poll of waitForFinal is not lost', async () => {
    const it = await started();
    const slow = deferred<string>();
    it.answer = () => slow.promise;
    const final = it.waitForFinal();
    it.tracker.requestPoll(ONE, false);
    it.answer = () => 'delivered';
    slow.resolve('awaiting_report');
    await pass(SECOND);
    await expect(final).resolves.toMatchObject({ status: 'delivered', source: 'callback' });
  });

  it('polls after hints start before scheduled polls, also if many are due', async () => {
    const it = await started({ schedule: [SECOND], perSecond: 10, limit: 10_000 });
    for (let n = 0; n < 1_000; n++) it.tracker.follow(`message-id-${n}`, { sentAt: new Date(Date.now() - HOUR) });
    await pass(2 * SECOND);
    it.tracker.follow('message-id-new');
    it.tracker.requestPoll('message-id-new', false);
    // Repeated hints do not delay the poll.
    for (let n = 0; n < 50; n++) {
      it.tracker.requestPoll('message-id-new', false);
      await pass(20);
    }
    expect(it.polledAt('message-id-new')).toHaveLength(1);
  });

  it('repeated hints delay a poll no more than one hint does', async () => {
    const it = await started({ perSecond: 10 });
    for (let n = 0; n < 60; n++) it.tracker.follow(`message-id-${n}`);
    for (let n = 0; n < 60; n++) {
      it.tracker.requestPoll(`message-id-${n}`, false);
      await pass(1);
    }
    for (let n = 0; n < 200; n++) {
      it.tracker.requestPoll('message-id-20', false);
      await pass(15);
    }
    expect(it.polledAt('message-id-20')).not.toEqual([]);
  });

  it('a hint without a new status does not change the schedule', async () => {
    const it = await started({ schedule: [10 * SECOND, HOUR] });
    it.tracker.follow(ONE);
    it.tracker.requestPoll(ONE, false);
    await pass(12 * SECOND + 1);
    expect(it.polledAt()).toHaveLength(2);
  });

  describe('authenticated, but to be confirmed (confirm: always)', () => {
    it('about a message that is not tracked: it is polled and emitted, and not tracked', async () => {
      const it = await started();
      it.tracker.requestPoll(ONE, true);
      await pass(0);
      expect(it.statuses()).toEqual(['awaiting_report']);
      expect(it.tracker.size).toBe(0);
      await pass(HOUR);
      expect(it.polls).toHaveLength(1);
    });

    it('is polled until the gateway answers, so that an outage does not lose it', async () => {
      const it = await started({ schedule: [MINUTE] });
      it.answer = down;
      it.tracker.requestPoll(ONE, true);
      await pass(5 * MINUTE);
      expect(it.polls.length).toBeGreaterThan(2);
      it.answer = () => 'delivered';
      await pass(2 * MINUTE);
      expect(it.statuses()).toEqual(['delivered']);
    });

    it('thousands at once are limited to perSecond like all polls', async () => {
      const it = await started({ perSecond: 100 });
      it.answer = () => new Promise((resolve) => setTimeout(() => resolve('delivered'), 10));
      for (let n = 0; n < 2_000; n++) it.tracker.requestPoll(`message-id-${n}`, true);
      await pass(SECOND);
      expect(it.maxActivePolls).toBe(5);
      expect(it.polls.length).toBeLessThanOrEqual(100);
      await pass(21 * SECOND);
      expect(it.events).toHaveLength(2_000);
    });
  });
});

describe('the circuit breaker', () => {
  it('no polls start while it is open, and all polls resume when it closes', async () => {
    const it = await started({ schedule: [SECOND] });
    it.answer = wrongIp;
    for (let n = 0; n < 100; n++) it.tracker.follow(`message-id-${n}`);
    await pass(2 * SECOND);
    const requests = it.polls.length;
    expect(requests).toBeLessThanOrEqual(5);
    it.tracker.requestPoll('message-id-50', false);
    await pass(HOUR);
    expect(it.polls).toHaveLength(requests);
    expect(it.unresolved).toEqual([]);
    it.answer = () => 'delivered';
    it.breaker.onOutcome();
    await pass(5 * SECOND);
    expect(it.events).toHaveLength(100);
  });
});

it('unreadable callbacks that arrive faster than polls may start: beyond `remember` the oldest are dropped', async () => {
  const it = await started({ remember: 100 });
  for (let n = 0; n < 10_000; n++) it.tracker.requestPoll(`message-id-${n}`, true);
  await pass(HOUR);
  expect(it.polls).toHaveLength(100);
  expect(it.polledAt('message-id-9999')).toHaveLength(1);
});

describe('callbacks about unknown uids', () => {
  it('each status is emitted once, none after a final one, without any poll', async () => {
    const it = await started({ schedule: [SECOND] });
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 10_000; n++) it.callback('delivered', `message-id-${n}`);
    }
    expect(it.events).toHaveLength(10_000);
    for (const status of ['awaiting_report', 'failed', 'rejected']) it.callback(status, 'message-id-9999');
    it.callback('awaiting_report', 'message-id-x');
    it.callback('delivered', 'message-id-x');
    expect(it.events).toHaveLength(10_002);
    await pass(72 * HOUR);
    expect(it.polls).toEqual([]);
    expect(it.unresolved).toEqual([]);
  });

  it('remembers the last 10,000 of them, in addition to tracked messages', async () => {
    const it = await started();
    it.tracker.follow(ONE);
    it.callback('delivered');
    for (let n = 0; n <= 10_000; n++) it.callback('delivered', `message-id-of-another-account-${n}`);
    const before = it.events.length;
    it.callback('delivered', 'message-id-of-another-account-1');
    it.callback('delivered');
    expect(it.events).toHaveLength(before);
    it.callback('delivered', 'message-id-of-another-account-0');
    expect(it.events).toHaveLength(before + 1);
  });

  it('a uid that is tracked later is treated as if it had been tracked from the beginning', async () => {
    const it = await started({ schedule: [SECOND] });
    it.callback('awaiting_report');
    it.tracker.follow(ONE, { ref: 'order 1' });
    for (let n = 0; n < 20_000; n++) it.callback('delivered', `message-id-of-another-account-${n}`);
    await pass(2 * SECOND);
    expect(it.polledAt()).toHaveLength(1);
    it.answer = () => 'failed';
    it.callback('delivered');
    it.callback('failed');
    await pass(2 * SECOND);
    expect(it.statuses()).toEqual(['awaiting_report', 'delivered', 'delivered->failed']);
  });

  it('emits nothing for a message that another account sent', async () => {
    const it = await started();
    it.sentByAnother = async (uid) => uid === ONE;
    it.callback('delivered');
    it.callback('delivered', 'message-id-2');
    await pass(0);
    expect(it.events.map(({ uid }) => uid)).toEqual(['message-id-2']);
  });

  it("with confirm: 'always' a uid that the gateway cannot find is polled once", async () => {
    const it = await started({ schedule: [SECOND] });
    it.answer = notFound;
    it.tracker.requestPoll(ONE, true);
    await pass(72 * HOUR);
    expect(it.polls).toHaveLength(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('with tracking: false sent messages are still remembered: a contradiction is confirmed', async () => {
    const it = await started(false);
    it.tracker.follow(ONE, { ref: 'order 1' });
    it.answer = () => 'failed';
    it.callback('delivered');
    it.callback('failed');
    await pass(2 * SECOND);
    expect(it.statuses()).toEqual(['delivered', 'delivered->failed']);
    expect(it.events[0]).toMatchObject({ ref: 'order 1' });
  });
});

describe('tracking.open', () => {
  it.each([
    ['an array', (uids: OpenUid[]) => uids],
    ['a promise of one', (uids: OpenUid[]) => Promise.resolve(uids)],
    [
      'a generator',
      function* (uids: OpenUid[]) {
        yield* uids;
      },
    ],
    [
      'an async generator',
      async function* (uids: OpenUid[]) {
        yield* uids;
      },
    ],
  ])('%s of uids is tracked after the start', async (_, open) => {
    const it = tracking({
      open: () => open([ONE, '2', { uid: 'message-id-3', sentAt: new Date(Date.now() - HOUR), ref: 'order 3' }]),
    });
    expect(it.tracker.size).toBe(0);
    await it.start();
    expect(['message-id-1', 'message-id-2', 'message-id-3'].map((uid) => it.tracker.follows(uid))).toEqual([
      true,
      true,
      true,
    ]);
    it.answer = () => 'delivered';
    await pass(SECOND);
    expect(it.events).toMatchObject([{ uid: 'message-id-3', ref: 'order 3' }]);
  });

  it('an error is logged, and the uids before it are tracked', async () => {
    const it = await started({
      open: function* () {
        yield ONE;
        throw new Error('no table for 79270000001');
      },
    });
    it.tracker.follow('message-id-2');
    expect(it.tracker.size).toBe(2);
    expect(Logger.prototype.error).toHaveBeenCalledWith(expect.stringContaining('tracking.open failed'));
    expect(Logger.prototype.error).not.toHaveBeenCalledWith(expect.stringContaining('79270000001'));
    await pass(2 * MINUTE);
    expect(it.polls.length).toBeGreaterThanOrEqual(2);
  });

  it('invalid uids are logged and skipped', async () => {
    const odd = [undefined, null, 7, {}, { uid: null }, 'a b', '', ONE] as unknown as OpenUid[];
    const it = await started({ open: () => odd });
    expect(it.tracker.follows(ONE)).toBe(true);
    expect(it.tracker.size).toBe(2);
    expect(Logger.prototype.warn).toHaveBeenCalledTimes(6);
  });

  it('an endless source ends with the application', async () => {
    let read = 0;
    const it = tracking({
      open: async function* () {
        for (;;) {
          await new Promise((resolve) => setTimeout(resolve, 10));
          yield `message-id-${read++}`;
        }
      },
    });
    const over = it.start();
    await pass(100);
    it.stop();
    await pass(20);
    await over;
    expect(read).toBeLessThan(15);
  });
});

describe('waitForFinal', () => {
  it('resolves at once with a remembered final status', async () => {
    const it = await started();
    it.callback('failed');
    await expect(it.waitForFinal()).resolves.toStrictEqual(it.events[0]);
    expect(it.polls).toEqual([]);
  });

  it('polls once, then waits for events; the message is tracked from then on', async () => {
    const it = await started();
    const final = it.waitForFinal();
    await pass(30 * SECOND);
    expect(it.polledAt()).toEqual([0]);
    expect(it.tracker.follows(ONE)).toBe(true);
    it.callback('delivered');
    await expect(final).resolves.toMatchObject({ status: 'delivered', source: 'callback' });
    await pass(72 * HOUR);
    expect(it.polls).toHaveLength(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('does the same with tracking: false', async () => {
    const it = await started(false);
    const final = it.waitForFinal();
    await pass(HOUR);
    expect(it.polledAt()).toEqual([0]);
    it.callback('delivered');
    await expect(final).resolves.toMatchObject({ status: 'delivered' });
  });

  it('any number of waits for one message share one poll and end together', async () => {
    const it = await started();
    it.answer = () => new Promise((resolve) => setTimeout(() => resolve('delivered'), 100));
    const waits = Array.from({ length: 100 }, () => it.waitForFinal());
    await pass(100);
    expect(new Set(await Promise.all(waits)).size).toBe(1);
    expect(it.polls).toHaveLength(1);
  });

  it('its time-out is an RtSmsTimeoutError of the operation wait, with the error of the poll as its cause; the message stays tracked', async () => {
    const it = await started();
    it.answer = down;
    const wait = it.waitForFinal({ timeoutMs: 5_000 });
    const failed = expect(wait).rejects.toMatchObject({
      name: 'RtSmsTimeoutError',
      operation: 'wait',
      durationMs: 5_000,
      cause: { message: 'down' },
    });
    await pass(5 * SECOND);
    await failed;
    const error: unknown = await wait.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RtSmsTimeoutError);
    expect(error).not.toHaveProperty('outcome');
    expect(it.tracker.follows(ONE)).toBe(true);
  });

  it("ends with the caller's signal, before and during the wait", async () => {
    const it = await started();
    await expect(it.waitForFinal({ signal: AbortSignal.abort() })).rejects.toBeInstanceOf(RtSmsAbortedError);
    expect(it.polls).toEqual([]);
    const abort = new AbortController();
    const wait = expect(it.waitForFinal({ signal: abort.signal })).rejects.toMatchObject({
      name: 'RtSmsAbortedError',
      operation: 'wait',
    });
    abort.abort();
    await wait;
    expect(it.tracker.follows(ONE)).toBe(true);
  });

  it('calls for many messages can share one signal, without a leak warning', async () => {
    const it = await started();
    const abort = new AbortController();
    const ends = Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => it.waitForFinal({ signal: abort.signal }, `message-id-${n}`)),
    );
    expect(getMaxListeners(abort.signal)).toBe(Infinity);
    abort.abort();
    expect((await ends).map(({ status }) => status)).toEqual(Array(20).fill('rejected'));
  });

  it('ends with the application, also for a message without any status', async () => {
    const it = await started();
    const ended = { name: 'RtSmsAbortedError', message: expect.stringContaining('shutting down') };
    const wait = expect(it.waitForFinal()).rejects.toMatchObject(ended);
    it.stop();
    await wait;
    await expect(it.waitForFinal()).rejects.toMatchObject(ended);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('ends when the message becomes unresolved', async () => {
    const it = await started({ schedule: [MINUTE], maxAgeMs: HOUR });
    const wait = expect(it.waitForFinal({ timeoutMs: 2 * HOUR })).rejects.toThrow('tracking.maxAgeMs');
    await pass(HOUR);
    await wait;
  });

  it('removes its listeners and timers, however it ends', async () => {
    const it = await started();
    const abort = new AbortController();
    const removed = jest.spyOn(abort.signal, 'removeEventListener');
    const waits = Array.from({ length: 10 }, (_, n) =>
      it.waitForFinal({ timeoutMs: SECOND * (n + 1), signal: abort.signal }, `message-id-${n}`).catch(() => 'late'),
    );
    for (let n = 0; n < 5; n++) it.callback('delivered', `message-id-${n}`);
    await pass(20 * SECOND);
    await Promise.all(waits);
    expect(removed).toHaveBeenCalledTimes(10);
    expect((it.waits as unknown as { finals: Map<string, unknown> }).finals.size).toBe(0);
  });
});

describe('start and stop', () => {
  it('does not poll before the start', async () => {
    const it = tracking({ schedule: [SECOND] });
    it.tracker.follow(ONE);
    await pass(MINUTE);
    expect(it.polls).toEqual([]);
    await it.start();
    await pass(0);
    expect(it.polledAt()).toEqual([MINUTE]);
  });

  it('after the end nothing is polled or emitted and no timer is left', async () => {
    const it = await started({ schedule: [SECOND] });
    const slow = deferred<string>();
    it.answer = () => slow.promise;
    for (let n = 0; n < 1_000; n++) it.tracker.follow(`message-id-${n}`);
    await pass(2 * SECOND);
    const requests = it.polls.length;
    it.stop();
    slow.resolve('delivered');
    it.callback('delivered');
    it.tracker.follow('message-id-new');
    it.tracker.requestPoll(ONE, true);
    await pass(HOUR);
    expect(it.polls).toHaveLength(requests);
    expect(it.events).toEqual([]);
    expect(it.unresolved).toEqual([]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('with tracking: false nothing is polled, and authenticated callbacks are emitted', async () => {
    const it = await started(false);
    it.tracker.follow(ONE);
    it.callback('awaiting_report');
    it.callback('delivered');
    await pass(72 * HOUR);
    expect(it.polls).toEqual([]);
    expect(it.statuses()).toEqual(['awaiting_report', 'delivered']);
    expect(it.unresolved).toEqual([]);
  });
});
