import { setTimeout as pause } from 'node:timers/promises';
import type { EngineHost, RatePermit } from 'nestjs-rt-sms';

/**
 * Permits of this process under the rate. The limiter of the queue paces what the replicas take from it; this also counts the
 * sends of this process that bypass the queue. Permits are acquired one at a time, so that waiting sends do not start together.
 */
export class SendPermits {
  private turn: Promise<unknown> = Promise.resolve();
  private lastTurnAt = -Infinity;

  constructor(
    private readonly host: Pick<EngineHost, 'options' | 'acquirePermit'>,
    private readonly shutdown: AbortSignal,
  ) {}

  /** Resolves to a permit, or to nothing during shutdown. */
  acquire(): Promise<RatePermit | undefined> {
    const next = this.turn.then(async () => {
      const restMs = this.lastTurnAt + 900 / this.host.options.rate!.perSecond - performance.now();
      if (restMs > 1) await pause(restMs);
      const permit = await this.next();
      this.lastTurnAt = performance.now();
      return permit;
    });
    this.turn = next;
    return next;
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

/**
 * BullMQ counts in windows that start with their first job, and two windows may fall into one second. Ten short windows keep
 * any sliding second to the rate plus a tenth. Each is 1 % longer, for the jitter of the network.
 */
export function limiter(perSecond: number): { max: number; duration: number } {
  const max = Math.max(1, Math.floor(perSecond / 10));
  return { max, duration: Math.ceil((max * 1010) / perSecond) };
}
