import { setTimeout as pause } from 'node:timers/promises';
import { DelayedError } from 'bullmq';
import {
  isRtSmsError,
  RtSmsUnexpectedResponseError,
  type EngineHost,
  type RatePermit,
  type RtSmsError,
} from 'nestjs-rt-sms';
import { afterFailedSend, fromStored, queueBackoffMs, redact, toStored } from 'nestjs-rt-sms/engine';
import { readRef } from './check-data.js';
import type { CheckJobs } from './check-jobs.js';
import { MAX_HANDLER_FAILURES, nextHandlerCall } from './handler-retries.js';
import type { SendData } from './job-data.js';
import { idOf } from './job-id.js';
import { GRACE_MS, QueueWorker } from './queue-worker.js';
import { SendPermits } from './send-permits.js';
import { keepFor, postpone, type JobWorker, type StoredJob } from './jobs.js';
import type { Store } from './store.js';
import { within } from './store-requests.js';

/** Milliseconds for which an abandoned message waits for its former worker, which may still store the outcome. */
const ABANDONED_WAIT_MS = 2_000;
/** Pause in milliseconds after each message that a rejected replica yields to others. */
const YIELD_PAUSE_MS = 25;
/** Delay in milliseconds of a message that comes back although others could have taken it. */
const YIELD_AGAIN_MS = 5_000;
const MAX_YIELDED = 10_000;

/** A send job that this worker holds. */
interface Lease {
  job: StoredJob<SendData>;
  token: string;
  /** Version of the last write. */
  version?: number;
}

/**
 * Worker of the send queue. A message is never sent twice: `sendStartedAt` is stored before the POST, in the same operation that
 * proves the lease, and a worker that finds it does not send. No decision depends on clocks.
 */
export class SendWorker extends QueueWorker<SendData> {
  private readonly shutdown = new AbortController();
  private readonly permits: SendPermits;
  /** Messages that this replica has yielded to others while the gateway rejects it. */
  private readonly yielded = new Set<string>();

  constructor(
    store: Store,
    private readonly host: EngineHost,
    private readonly concurrency: number,
    private readonly checks: CheckJobs,
  ) {
    const { rate, idempotencyMs } = host.options;
    super(store, 'send', {
      ...keepFor(idempotencyMs),
      ...(rate ? { limiter: limiter(rate.perSecond), drainDelay: 1 } : {}),
    });
    this.permits = new SendPermits(host, this.shutdown.signal);
    host.breaker.onRestored(() => {
      this.yielded.clear();
      if (this.worker) this.worker.concurrency = concurrency;
    });
  }

  protected override async end(worker: JobWorker<SendData>): Promise<void> {
    const closing = worker.close();
    await within(GRACE_MS, closing).catch(() => undefined);
    this.shutdown.abort();
    await within(GRACE_MS / 4, closing).catch(() => worker.close(true));
  }

  protected override secretsOf({ message }: SendData): readonly string[] {
    return message === undefined ? [] : [message];
  }

  protected async run(job: StoredJob<SendData>, token: string): Promise<string> {
    const lease: Lease = { job, token };
    const { data } = job;
    if (data.state !== undefined) return this.reannounce(lease);
    if (data.sendStartedAt !== undefined) return this.recoverAbandoned(lease);
    const permit = this.host.options.rate && !this.host.breaker.error ? await this.permits.acquire() : undefined;
    const ended = await this.endUnsent(lease, permit);
    if (ended) return ended;
    const attempts = (data.attempts ?? 0) + 1;
    // One operation stores the mark and proves the lease. Any later worker finds the mark.
    let marked: boolean;
    try {
      marked = await this.update(lease, { ...data, attempts, sendStartedAt: Date.now() });
    } catch (error) {
      // The mark may be stored, but nothing is sent.
      permit?.release();
      await this.persist(lease, data);
      throw error;
    }
    if (!marked) {
      permit?.release();
      throw leaseLost();
    }
    const [msisdn, shortcode, text] = JSON.parse(data.message!) as [string, string, string];
    try {
      const { uid } = await this.host.send(
        { msisdn, shortcode, text },
        { permit, signal: this.shutdown.signal, startBefore: data.expiresAt },
      );
      return await this.settle(lease, { state: 'accepted', uid, sentAt: Date.now() });
    } catch (error) {
      if (!isRtSmsError(error) || error.operation !== 'send') throw error;
      return this.onFailure(lease, data, attempts, error);
    }
  }

  /** Ends the run of a message that may not be sent now; nothing if it may. */
  private async endUnsent(lease: Lease, permit: RatePermit | undefined): Promise<string | undefined> {
    const { expiresAt } = lease.job.data;
    const isShutdown = this.shutdown.signal.aborted;
    const isExpired = expiresAt !== undefined && expiresAt <= Date.now();
    if (!isShutdown && !isExpired && !this.host.breaker.error) return undefined;
    permit?.release();
    if (isShutdown) return this.postpone(lease, Date.now());
    return isExpired ? this.settle(lease, { state: 'expired' }) : this.yieldToOthers(lease);
  }

  private async onFailure(lease: Lease, data: SendData, attempts: number, error: RtSmsError): Promise<string> {
    const isShutdown = this.shutdown.signal.aborted;
    const isExpired = data.expiresAt !== undefined && data.expiresAt <= Date.now();
    // An attempt that a shutdown ended does not count.
    const counted = isShutdown ? attempts - 1 : attempts;
    const next = afterFailedSend(error, counted, isExpired);
    if (next === 'unknown' || next === 'refused') return this.settle(lease, { state: next }, error);
    if (next === 'expired') return this.settle(lease, { state: next });
    // The message certainly was not sent, so the mark is removed and another attempt may follow.
    if (!(await this.persist(lease, { ...data, attempts: next === 'hold' ? attempts - 1 : counted })))
      throw leaseLost();
    if (next === 'hold') return this.yieldToOthers(lease);
    return this.postpone(lease, isShutdown ? Date.now() : Date.now() + queueBackoffMs(attempts));
  }

  /**
   * Puts a message back for other replicas, because the gateway rejects this one. This replica keeps taking single messages
   * slowly, so that it announces those that expire; under a rate, with at most a fifth of it.
   */
  private async yieldToOthers({ job, token }: Lease): Promise<never> {
    const { breaker, options } = this.host;
    if (this.worker) this.worker.concurrency = breaker.error ? 1 : this.concurrency;
    // Immediately available to others. If it comes back, there may be no other replica, and the next message is tried.
    const isBack = this.yielded.delete(job.id!);
    if (this.yielded.size > MAX_YIELDED) this.yielded.clear();
    if (!isBack) this.yielded.add(job.id!);
    const at = Date.now() + (isBack ? YIELD_AGAIN_MS : 0);
    await job.moveToDelayed(Math.min(at, job.data.expiresAt ?? Infinity), token);
    await pause(Math.max(YIELD_PAUSE_MS, options.rate ? 5_000 / options.rate.perSecond : 0));
    throw new DelayedError();
  }

  private postpone({ job, token }: Lease, at: number): Promise<never> {
    return postpone(job, token, Math.min(at, job.data.expiresAt ?? Infinity));
  }

  /** Settles a message whose worker died during the POST. Its outcome is unknown, unless that worker still stores it. */
  private async recoverAbandoned(lease: Lease): Promise<string> {
    await pause(ABANDONED_WAIT_MS);
    const now = await this.store.retryUntilStored(() => this.store.send.getJob(lease.job.id!));
    if (!now) throw new Error('the job was removed');
    lease.job.data = now.data;
    if (now.data.state !== undefined) return this.reannounce(lease);
    const error = new RtSmsUnexpectedResponseError('the sending process ended before it stored the answer', {
      account: this.host.options.account,
      attempts: now.data.attempts ?? 1,
    });
    return this.settle(lease, { state: 'unknown' }, error);
  }

  /** Stores the outcome, removes text and number, and then announces it. Every message ends here. */
  private async settle(
    lease: Lease,
    outcome: Pick<SendData, 'state' | 'uid' | 'sentAt'>,
    error?: RtSmsError,
  ): Promise<string> {
    const { digest, ref } = lease.job.data;
    const data: SendData = { digest, ref, ...outcome, error: error && toStored(error) };
    if (await this.persist(lease, data)) return this.announce(lease, error);
    return this.onLeaseLost(lease, data);
  }

  /** Announces a stored outcome again, after a failed handler or the death of its worker. */
  private async reannounce(lease: Lease): Promise<string> {
    const { data } = lease.job;
    if (needsCheckJob(data) && !(await this.persist(lease, data))) throw leaseLost();
    return this.announce(lease, fromStored(data.error, this.host.options.account));
  }

  private async announce(lease: Lease, error: RtSmsError | undefined): Promise<string> {
    const { job } = lease;
    const { data } = job;
    const { emit } = this.host;
    const id = idOf(job.id!);
    const ref = readRef(data);
    let succeeded: boolean;
    if (data.state === 'accepted') succeeded = await emit.accepted(id, data.uid!, ref);
    else if (data.state === 'refused') succeeded = await emit.refused(id, error!, ref);
    else if (data.state === 'unknown') succeeded = await emit.outcomeUnknown(id, error!, ref);
    else if (data.state === 'expired') succeeded = await emit.expired(id, ref);
    else succeeded = await emit.cancelled(id, ref);
    const failures = (data.failures ?? 0) + 1;
    if (succeeded || failures > MAX_HANDLER_FAILURES) return data.state!;
    await this.persist(lease, { ...data, failures });
    return this.postpone(lease, nextHandlerCall(failures));
  }

  /** Another worker took the job, because this one gave no sign of life for too long. An accepted uid must not be lost. */
  private async onLeaseLost(lease: Lease, data: SendData): Promise<string> {
    if (data.state === 'accepted') {
      const now = await this.store.retryUntilStored(() => this.store.send.getJob(lease.job.id!));
      if (now && now.data.state === undefined) await this.store.retryUntilStored(() => now.updateData(data));
      else if (now?.data.state !== 'accepted')
        this.host.logger.warn(
          `${redact(data.uid!)} was accepted after its outcome had been reported as ${now?.data.state ?? 'removed'}; it is tracked`,
        );
    }
    throw leaseLost();
  }

  /** Writes until the store has taken it, with the check job of an accepted message. False if the lease is lost. */
  private async persist(lease: Lease, data: SendData): Promise<boolean> {
    for (;;) {
      try {
        return await this.update(lease, data);
      } catch (error) {
        if (this.shutdown.signal.aborted) {
          if (data.uid)
            this.host.logger.error(
              `${redact(data.uid)} was accepted, but the store is down and could not save it. Fix: call track() with it`,
            );
          throw error;
        }
        this.store.warnThrottled(error);
        await pause(100);
      }
    }
  }

  private async update(lease: Lease, content: SendData): Promise<boolean> {
    const { job, token } = lease;
    lease.version = (lease.version ?? job.data.version ?? 0) + 1;
    const data = { ...content, version: lease.version };
    const update = { jobId: job.id!, token, data };
    const isHeld = needsCheckJob(data)
      ? await this.checks.addAccepted(data.uid!, { at: data.sentAt!, ref: readRef(data), sendJobId: job.id! }, update)
      : (await this.store.operations.update(update)).replaced;
    if (isHeld) job.data = data;
    return isHeld;
  }
}

const leaseLost = () => new Error('another worker holds the job');

/** True for an accepted message that has not been announced yet, so it may have no check job. */
const needsCheckJob = ({ state, failures }: SendData): boolean => state === 'accepted' && !failures;

/**
 * BullMQ counts in windows that start with their first job, and two windows may fall into one second. Ten short windows keep
 * any sliding second to the rate plus a tenth. Each is 1 % longer, for the jitter of the network.
 */
export function limiter(perSecond: number): { max: number; duration: number } {
  const max = Math.max(1, Math.floor(perSecond / 10));
  return { max, duration: Math.ceil((max * 1010) / perSecond) };
}
