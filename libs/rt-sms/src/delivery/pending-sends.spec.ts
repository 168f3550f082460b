import { jest } from '@jest/globals';
import fc from 'fast-check';
import { PendingSends } from './pending-sends.js';

/** A send that the test ends. */
function work(pending: PendingSends) {
  let end!: () => void;
  const done = pending.track(() => new Promise<void>((resolve) => (end = resolve)));
  return { done, end };
}

/** Turn of the event loop, after which waiters run: the caller of the send continues first. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('PendingSends', () => {
  beforeEach(() => jest.useFakeTimers({ doNotFake: ['setImmediate'] }));
  afterEach(() => jest.useRealTimers());

  it('does not wait without pending sends', () => {
    const go = jest.fn();
    new PendingSends().settled(1_000, go);
    expect(go).toHaveBeenCalledTimes(1);
  });

  it('waits for all current sends, not for later ones', async () => {
    const pending = new PendingSends();
    const [first, second] = [work(pending), work(pending)];
    const go = jest.fn();
    pending.settled(1_000, go);
    const later = work(pending);
    second.end();
    await second.done;
    await turn();
    expect(go).not.toHaveBeenCalled();
    first.end();
    await first.done;
    await turn();
    expect(go).toHaveBeenCalledTimes(1);
    later.end();
    await later.done;
    await turn();
    await jest.advanceTimersByTimeAsync(2_000);
    expect(go).toHaveBeenCalledTimes(1);
  });

  it('calls back after the limit, and only once', async () => {
    const pending = new PendingSends();
    const slow = work(pending);
    const go = jest.fn();
    pending.settled(1_000, go);
    await jest.advanceTimersByTimeAsync(999);
    expect(go).not.toHaveBeenCalled();
    await jest.advanceTimersByTimeAsync(1);
    expect(go).toHaveBeenCalledTimes(1);
    slow.end();
    await slow.done;
    await turn();
    expect(go).toHaveBeenCalledTimes(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('continues the caller of a send before its waiters', async () => {
    const pending = new PendingSends();
    const { done, end } = work(pending);
    const order: string[] = [];
    pending.settled(1_000, () => order.push('waiter'));
    const callerDone = done.then(() => order.push('caller'));
    end();
    await callerDone;
    await turn();
    expect(order).toEqual(['caller', 'waiter']);
  });

  it('a failed send is settled as well, and its error reaches the caller', async () => {
    const pending = new PendingSends();
    const go = jest.fn();
    const failing = pending.track(() => Promise.reject(new Error('no')));
    pending.settled(1_000, go);
    await expect(failing).rejects.toThrow('no');
    await turn();
    expect(go).toHaveBeenCalledTimes(1);
  });

  it('continues each waiter exactly when the last send before it has settled', async () => {
    const steps = fc.array(fc.oneof(fc.constant('send' as const), fc.constant('wait' as const), fc.nat({ max: 30 })));
    await fc.assert(
      fc.asyncProperty(steps, async (acts) => {
        const pending = new PendingSends();
        const sends: { done: Promise<void>; end: () => void; ended: boolean }[] = [];
        const waiters: { for: typeof sends; gone: number }[] = [];
        const check = () => {
          for (const waiter of waiters) expect(waiter.gone).toBe(waiter.for.every(({ ended }) => ended) ? 1 : 0);
        };
        for (const act of acts) {
          if (act === 'send') sends.push({ ...work(pending), ended: false });
          else if (act === 'wait') {
            const waiter = { for: sends.filter(({ ended }) => !ended), gone: 0 };
            waiters.push(waiter);
            pending.settled(1_000, () => waiter.gone++);
          } else if (sends[act] && !sends[act].ended) {
            sends[act].ended = true;
            sends[act].end();
            await sends[act].done;
            await turn();
          }
          check();
        }
        for (const send of sends) {
          send.ended = true;
          send.end();
        }
        await Promise.all(sends.map(({ done }) => done));
        await turn();
        check();
        expect(jest.getTimerCount()).toBe(0);
      }),
    );
  });
});
