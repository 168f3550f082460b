import { setTimeout as pause } from 'node:timers/promises';
import type { EngineHost, RatePermit } from 'nestjs-rt-sms';
import type { Store } from './store.js';
import type { Pace } from './workers.js';

/** Longest pause in milliseconds, so that a shutdown is noticed. */
const LONGEST_PAUSE_MS = 1_000;
const RETRY_MS = 500;
/** Reservations of the rate that a replica makes in a second at most: with a higher rate, each is for several sends. */
const RESERVATIONS_PER_SECOND = 20;
/** Each interval is 1 % longer, for the jitter of the network. */
const SLOWER = 1.01;

/**
 * Permits to send under the rate, which all replicas share: each reserves its next interval in the store, by the clock of the
 * store. The limit of this process also counts its sends that bypass the queue. Permits are acquired one at a time.
 */
export class SendPermits implements Pace {
  private turn: Promise<unknown> = Promise.resolve();
  private readonly intervalMs: number;
  private readonly atOnce: number;
  /** Times of `performance.now()` at which the reserved sends may start. */
  private reserved: number[] = [];
  /** Permits by the token of the job that is taken with them. */
  private readonly acquired = new Map<string, RatePermit>();

  constructor(
    private readonly store: Pick<Store, 'operations' | 'warnThrottled'>,
    private readonly host: Pick<EngineHost, 'acquirePermit'>,
    private readonly shutdown: AbortSignal,
    perSecond: number,
  ) {
    this.intervalMs = (1_000 * SLOWER) / perSecond;
    this.atOnce = Math.max(1, Math.floor(perSecond / RESERVATIONS_PER_SECOND));
  }

  acquire(token: string): Promise<unknown> {
    const next = this.turn.then(async () => {
      await this.reach();
      const permit = await this.next();
      if (permit) this.acquired.set(token, permit);
    });
    this.turn = next;
    return next;
  }

  release(token: string): void {
    this.acquired.get(token)?.release();
    this.acquired.delete(token);
  }

  /** Resolves to the permit of a job, or to nothing during shutdown. */
  async take(token: string): Promise<RatePermit | undefined> {
    if (!this.acquired.has(token)) await this.acquire(token);
    const permit = this.acquired.get(token);
    this.acquired.delete(token);
    return permit;
  }

  /** Waits for the next interval of this replica. */
  private async reach(): Promise<void> {
    const forMs = this.atOnce * this.intervalMs;
    // What was not used in its time is lost, because other replicas have gone on.
    this.reserved = this.reserved.filter((at) => at > performance.now() - forMs);
    while (this.reserved.length === 0 && !this.shutdown.aborted) {
      try {
        const from = (await this.store.operations('send').reserve(forMs)) + performance.now();
        for (let n = 0; n < this.atOnce; n++) this.reserved.push(from + n * this.intervalMs);
      } catch (error) {
        this.store.warnThrottled(error);
        await pause(RETRY_MS);
      }
    }
    const at = this.reserved.shift() ?? 0;
    for (let restMs = at - performance.now(); restMs > 0 && !this.shutdown.aborted; restMs = at - performance.now())
      await pause(Math.min(restMs, LONGEST_PAUSE_MS));
  }

  private next(): Promise<RatePermit | undefined> {
    const { shutdown } = this;
    return new Promise((resolve) => {
      if (shutdown.aborted) return resolve(undefined);
      let cancel: (() => void) | undefined;
      const stop = () => {
        cancel?.();
        resolve(undefined);
      };
      shutdown.addEventListener('abort', stop, { once: true });
      cancel = this.host.acquirePermit((permit) => {
        shutdown.removeEventListener('abort', stop);
        resolve(permit);
      });
    });
  }
}
