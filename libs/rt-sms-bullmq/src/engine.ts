import type { DeliveryTracker, EngineHost, EngineItem, QueuedSmsState, SmsEngine } from 'nestjs-rt-sms';
import { BullMqTracker } from './bullmq-tracker.js';
import { CheckJobs } from './check-jobs.js';
import { CheckWorker } from './check-worker.js';
import { resolveBullMqOptions, type BullMqOptions, type ResolvedBullMqOptions } from './options.js';
import { PollGate } from './poll-gate.js';
import { SendProducer } from './send-producer.js';
import { SendWorker } from './send-worker.js';
import { Store } from './store.js';
import { StoreLimits } from './store-limits.js';
import { within } from './store-requests.js';
import { Sweep } from './sweep.js';
import { TransactionProducer } from './transaction-producer.js';
import { UnknownQueue } from './unknown-queue.js';

/** Milliseconds for which a shutdown waits for connections that are being opened. */
const CONNECTING_MS = 1_000;

/** The queues of one account in Redis or PostgreSQL, shared by any number of replicas. */
export class BullMqEngine implements SmsEngine {
  readonly tracker: DeliveryTracker;
  readonly limits: StoreLimits;
  readonly handlerTimeoutMs: number;
  readonly enqueueIn: SmsEngine['enqueueIn'];
  private readonly options: ResolvedBullMqOptions;
  private readonly store: Store;
  private readonly producer: SendProducer;
  private readonly workers: readonly Pick<SendWorker, 'open' | 'start' | 'stop'>[];
  private readonly sweep: Sweep;
  private opening: Promise<void> | undefined;

  constructor(options: BullMqOptions, host: EngineHost) {
    const { account, tracking, idempotencyMs, rate, policy } = host.options;
    const counts = { rate: rate !== undefined, limits: (policy?.limits.length ?? 0) > 0 };
    this.options = resolveBullMqOptions(options, account);
    this.handlerTimeoutMs = this.options.handlerTimeoutMs;
    this.store = new Store(this.options, account, host.logger, counts);
    this.limits = new StoreLimits(this.store, account, idempotencyMs);
    const checks = new CheckJobs(this.store, tracking);
    const gate = new PollGate(host, this.store.clock);
    const unknown = new UnknownQueue(this.store, host, checks, gate);
    this.tracker = new BullMqTracker(this.store, host, checks, unknown);
    this.producer = new SendProducer(this.store, host);
    if (!this.store.isRedis) {
      const inTransactions = new TransactionProducer(this.store, host);
      this.enqueueIn = (tx, items) => inTransactions.enqueue(tx, items);
    }
    this.workers = [
      new SendWorker(this.store, host, this.options.concurrency, checks),
      new CheckWorker(this.store, host, checks, gate),
      unknown,
    ];
    this.sweep = new Sweep(this.store, { send: idempotencyMs, check: checks.keepMs, unknown: checks.keepMs });
  }

  async prepare(): Promise<void> {
    this.opening ??= this.open();
    await this.store.prepare(this.opening);
  }

  start(): void {
    if (this.options.role === 'producer') return;
    this.opening ??= this.open();
    void this.opening.then(
      () => {
        for (const worker of this.workers) worker.start();
        void this.sweep.start();
      },
      () => undefined,
    );
  }

  /** Stops the workers and lets active jobs finish. Callers and callbacks can use the store until `close`. */
  async stop(): Promise<void> {
    this.store.end();
    this.sweep.stop();
    this.producer.stop();
    await within(CONNECTING_MS, this.opening ?? Promise.resolve()).catch(() => undefined);
    await Promise.all(this.workers.map((worker) => worker.stop()));
  }

  close(): Promise<void> {
    return this.store.close();
  }

  enqueue(items: EngineItem[]): Promise<void> {
    return this.producer.enqueue(items);
  }

  find(id: string): Promise<QueuedSmsState | undefined> {
    return this.producer.find(id);
  }

  cancel(id: string): Promise<boolean> {
    return this.producer.cancel(id);
  }

  emptied(): number {
    return this.store.emptied;
  }

  private async open(): Promise<void> {
    await this.store.ready;
    if (this.options.role !== 'producer') await Promise.all(this.workers.map((worker) => worker.open()));
  }
}
