import { setTimeout as pause } from 'node:timers/promises';
import { DelayedError } from 'bullmq';
import {
  isRtSmsError,
  RtSmsUnexpectedResponseError,
  RtSmsValidationError,
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
import { removeTimer } from './overdue-jobs.js';
import { QueueWorker } from './queue-worker.js';
import { emitOutcome, isOutcome } from './send-outcome.js';
import { SendPermits } from './send-permits.js';
import { keepFor, type JobWorker, type StoredJob } from './jobs.js';
import type { Store } from './store.js';

/** Milliseconds that sends in flight may still take during shutdown. */
const SENDS_GRACE_MS = 10_000;
/** Milliseconds for which an abandoned message waits for its former worker, which may still store the outcome. */
const ABANDONED_WAIT_MS = 2_000;
/** Milliseconds by which a delayed message may be early. */
const EARLY_MS = 50;
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
  /** How often the store had been found emptied when the job was taken. */
  emptied: number;
}

/**
 * Worker of the send queue. A message is never sent twice: `sendStartedAt` is stored before the POST, in the same operation that
 * proves the lease, and a worker that finds it does not send. No decision depends on clocks.
 */
export class SendWorker extends QueueWorker<SendData> {
  private readonly shutdown: AbortController;
  private readonly permits: SendPermits | undefined;
  /** Messages that this replica has yielded to others while the gateway rejects it. */
  private readonly yielded = new Set<string>();

  constructor(
    store: Store,
    private readonly host: EngineHost,
    private readonly concurrency: number,
    private readonly checks: CheckJobs,
  ) {
    const { rate, idempotencyMs } = host.options;
    const shutdown = new AbortController();
    const permits = rate && new SendPermits(store, host, shutdown.signal, rate.perSecond);
    super(store, 'send', keepFor(idempotencyMs), permits);
    this.shutdown = shutdown;
    this.permits = permits;
    host.breaker.onRestored(() => {
      this.yielded.clear();
      if (this.worker) this.worker.concurrency = concurrency;
    });
  }

  protected override async end(worker: JobWorker<SendData>): Promise<void> {
    const cut = setTimeout(() => this.shutdown.abort(), SENDS_GRACE_MS);
    await super.end(worker);
    clearTimeout(cut);
    this.shutdown.abort();
  }

  protected override secretsOf({ message }: SendData): readonly string[] {
    return message === undefined ? [] : [message];
  }

  protected async run(job: StoredJob<SendData>, token: string): Promise<string> {
    try {
      return await this.send({ job, token, emptied: this.store.emptied });
    } finally {
      // Unless the message was sent with it.
      this.permits?.release(token);
    }
  }

  private async send(lease: Lease): Promise<string> {
    const { job, token } = lease;
    const { data } = job;
    if (data.state !== undefined) return isOutcome(data) ? this.reannounce(lease) : this.refuseForeign(lease);
    if (data.sendStartedAt !== undefined) return this.recoverAbandoned(lease);
    // A worker takes what is due by its own clock.
    if (data.notBefore !== undefined && data.notBefore > this.store.clock.now() + EARLY_MS)
      return this.later(lease, data.notBefore);
    const message = this.store.seal.open(data.message, data.digest, { id: idOf(job.id!), expiresAt: data.expiresAt });
    if (!message) return this.refuseForeign(lease);
    const permit = await this.permits?.take(token);
    const ended = await this.endUnsent(lease, permit);
    if (ended) return ended;
    const attempts = (data.attempts ?? 0) + 1;
    // One operation stores the mark and proves the lease. Any later worker finds the mark.
    let marked: boolean;
    try {
      marked = await this.update(lease, { ...data, attempts, sendStartedAt: this.store.clock.now() });
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
    try {
      const limits = { permit, signal: this.shutdown.signal, startBefore: this.startBefore(data) };
      const { uid } = await this.host.send(message, limits);
      return await this.settle(lease, { state: 'accepted', uid, sentAt: this.store.clock.now() });
    } catch (error) {
      if (!isRtSmsError(error) || error.operation !== 'send') throw error;
      return this.onFailure(lease, data, attempts, error);
    }
  }

  /** Refuses a message that this account did not store as it is now. */
  private refuseForeign(lease: Lease): Promise<string> {
    const { account } = this.host.options;
    const error = new RtSmsValidationError(
      ['the message in the store was changed, or stored without a key of this application; it is not sent'],
      { account },
    );
    this.host.logger.error(
      `Refused ${redact(idOf(lease.job.id!))}: ${error.message}. Fix: see who can write to the store of the queue, and whether all replicas have the same keys`,
    );
    return this.settle(lease, { state: 'refused' }, error);
  }

  private startBefore({ expiresAt }: SendData): number | undefined {
    return expiresAt === undefined ? undefined : this.store.clock.toLocal(expiresAt);
  }

  /** Ends the run of a message that may not be sent now; nothing if it may. */
  private async endUnsent(lease: Lease, permit: RatePermit | undefined): Promise<string | undefined> {
    const { expiresAt } = lease.job.data;
    const isShutdown = this.shutdown.signal.aborted;
    const isExpired = expiresAt !== undefined && expiresAt <= this.store.clock.now();
    if (!isShutdown && !isExpired && !this.host.breaker.error) return undefined;
    permit?.release();
    if (isShutdown) return this.later(lease, this.store.clock.now());
    return isExpired ? this.settle(lease, { state: 'expired' }) : this.yieldToOthers(lease);
  }

  private async onFailure(lease: Lease, data: SendData, attempts: number, error: RtSmsError): Promise<string> {
    const isShutdown = this.shutdown.signal.aborted;
    const isExpired = data.expiresAt !== undefined && data.expiresAt <= this.store.clock.now();
    // An attempt that a shutdown ended does not count.
    const counted = isShutdown ? attempts - 1 : attempts;
    const next = afterFailedSend(error, counted, isExpired);
    if (next === 'unknown' || next === 'refused') return this.settle(lease, { state: next }, error);
    if (next === 'expired') return this.settle(lease, { state: next });
    // The message certainly was not sent, so the mark is removed and another attempt may follow.
    if (!(await this.persist(lease, { ...data, attempts: next === 'hold' ? attempts - 1 : counted })))
      throw leaseLost();
    if (next === 'hold') return this.yieldToOthers(lease);
    return this.later(lease, isShutdown ? this.store.clock.now() : this.store.clock.now() + queueBackoffMs(attempts));
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
    const at = this.store.clock.now() + (isBack ? YIELD_AGAIN_MS : 0);
    const dueAt = this.store.clock.toLocal(Math.min(at, job.data.expiresAt ?? Infinity));
    await job.moveToDelayed(Math.ceil(dueAt), token);
    await pause(Math.max(YIELD_PAUSE_MS, options.rate ? 5_000 / options.rate.perSecond : 0));
    throw new DelayedError();
  }

  private later({ job, token }: Lease, at: number): Promise<never> {
    return this.postpone(job, token, Math.min(at, job.data.expiresAt ?? Infinity));
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
    const { digest, ref, overdueAfterMs } = lease.job.data;
    const data: SendData = { digest, ref, ...outcome, error: error && toStored(error) };
    const isHeld = await this.persist(lease, data);
    if (overdueAfterMs !== undefined && !outcome.uid) void removeTimer(this.store, lease.job.id!);
    if (isHeld) return this.announce(lease, error);
    return this.onLeaseLost(lease, data, error);
  }

  /** Announces a stored outcome again, after a failed handler or the death of its worker. */
  private async reannounce(lease: Lease): Promise<string> {
    const { data } = lease.job;
    if (needsCheckJob(data) && !(await this.persist(lease, data))) throw leaseLost();
    return this.announce(lease, fromStored(data.error, this.host.options.account));
  }

  private async announce(lease: Lease, error: RtSmsError | undefined): Promise<string> {
    const { data } = lease.job;
    const succeeded = await this.handled(emitOutcome(this.host.emit, { id: idOf(lease.job.id!), data, error }));
    const failures = (data.failures ?? 0) + 1;
    if (succeeded || failures > MAX_HANDLER_FAILURES) return data.state!;
    await this.persist(lease, { ...data, failures });
    return this.later(lease, nextHandlerCall(failures, this.store.clock.now()));
  }

  /**
   * Another worker took the job, because this one gave no sign of life for too long; or the store was emptied. Only this worker
   * knows the outcome: an accepted uid must not be lost, and a job that is gone cannot announce it.
   */
  private async onLeaseLost(lease: Lease, data: SendData, error: RtSmsError | undefined): Promise<string> {
    const now = await this.store.retryUntilStored(() => this.store.send.getJob(lease.job.id!));
    if (!now && (await this.store.isEmptiedSince(lease.emptied))) {
      await this.handled(emitOutcome(this.host.emit, { id: idOf(lease.job.id!), data, error }));
      return data.state!;
    }
    if (now && data.state === 'accepted') {
      if (now.data.state === undefined) await this.store.retryUntilStored(() => now.updateData(data));
      else if (now.data.state !== 'accepted')
        this.host.logger.warn(
          `${redact(data.uid!)} was accepted after its outcome had been reported as ${now.data.state}; it is tracked`,
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
      : (await this.store.operations('send').update(update)).replaced;
    if (isHeld) job.data = data;
    return isHeld;
  }
}

const leaseLost = () => new Error('another worker holds the job');

/** True for an accepted message that has not been announced yet, so it may have no check job. */
const needsCheckJob = ({ state, failures }: SendData): boolean => state === 'accepted' && !failures;
