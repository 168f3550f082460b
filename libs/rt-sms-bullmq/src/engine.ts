import type { DeliveryTracker, EngineHost, EngineItem, QueuedSmsState, SmsEngine } from 'nestjs-rt-sms';
import { CheckQueue, type CheckData } from './check-queue.js';
import { resolveBullMqOptions, type BullMqOptions, type ResolvedBullMqOptions } from './options.js';
import type { SendData } from './job-data.js';
import { SendQueue } from './send-queue.js';
import { Store, within } from './store.js';
import { Sweep } from './sweep.js';
import type { UnknownData } from './unknown-queue.js';

/** An end waits so long for what is being connected. */
const CONNECTING_MS = 1_000;

/** The queues of one account in Redis or PostgreSQL, shared by any number of replicas. */
export class BullMqEngine implements SmsEngine {
  private readonly options: ResolvedBullMqOptions;
  private readonly store: Store<SendData, CheckData, UnknownData>;
  private readonly sends: SendQueue;
  private readonly checks: CheckQueue;
  private readonly sweep: Sweep;
  private opening: Promise<void> | undefined;

  constructor(options: BullMqOptions, host: EngineHost) {
    const { account } = host.options;
    this.options = resolveBullMqOptions(options, account);
    this.store = new Store(this.options, account, host.logger);
    this.checks = new CheckQueue(this.store, host);
    this.sends = new SendQueue(this.store, host, this.options, this.checks);
    const { keepMs } = this.checks;
    this.sweep = new Sweep(this.store, { send: host.options.idempotencyMs, check: keepMs, unknown: keepMs });
  }

  get tracker(): DeliveryTracker {
    return this.checks;
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
        this.sends.start();
        this.checks.startWorker();
        void this.sweep.start();
      },
      () => undefined,
    );
  }

  /** Stops taking, drains, and closes the workers. What callers and callbacks need goes with `close`. */
  async stop(): Promise<void> {
    this.store.end();
    this.sweep.stop();
    await within(CONNECTING_MS, this.opening ?? Promise.resolve()).catch(() => undefined);
    await Promise.all([this.sends.stop(), this.checks.stopWorker()]);
  }

  close(): Promise<void> {
    return this.store.close();
  }

  private async open(): Promise<void> {
    await this.store.ready;
    if (this.options.role !== 'producer') await Promise.all([this.sends.open(), this.checks.open()]);
  }

  enqueue(items: EngineItem[]): Promise<void> {
    return this.sends.enqueue(items);
  }

  find(id: string): Promise<QueuedSmsState | undefined> {
    return this.sends.find(id);
  }

  cancel(id: string): Promise<boolean> {
    return this.sends.cancel(id);
  }
}
