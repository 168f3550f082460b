import { randomBytes, randomUUID } from 'node:crypto';
import { isNotCreated } from './store-errors.js';
import type { StoredQueue } from './jobs.js';

const JOB_ID = 'store';
const KEY_BYTES = 32;

/** Data of the job that marks the store. No worker takes it. */
export interface IdentityData {
  /** Base64 of the key of the digests of an account without `keys`. */
  key: string;
  /** Random, so that a store that was emptied and marked again by another replica is noticed. */
  id: string;
}

/** Marks the store of an account, so that one that comes back empty is noticed, and keeps its key for digests. */
export class StoreIdentity {
  private hasTables = true;

  private constructor(
    private readonly queue: StoredQueue<IdentityData>,
    private data: IdentityData,
    private readonly onEmptied: () => void,
  ) {}

  /**
   * Reads the mark of the store, which the first replica makes.
   * @param onEmptied called each time the mark is gone
   */
  static async open(queue: StoredQueue<IdentityData>, onEmptied: () => void): Promise<StoreIdentity> {
    const fresh = { key: randomBytes(KEY_BYTES).toString('base64'), id: randomUUID() };
    return new StoreIdentity(queue, await mark(queue, fresh), onEmptied);
  }

  get mark(): { jobId: string; id: string } {
    return { jobId: JOB_ID, id: this.data.id };
  }

  get key(): Buffer {
    return Buffer.from(this.data.key, 'base64');
  }

  /** Looks for the mark. One that is gone is made again with the same key, which the replicas still use. */
  async look(): Promise<void> {
    let found: IdentityData;
    try {
      found = await mark(this.queue, { key: this.data.key, id: randomUUID() });
    } catch (error) {
      if (!isNotCreated(error)) throw error;
      if (this.hasTables) this.onEmptied();
      this.hasTables = false;
      return;
    }
    const isNew = found.id !== this.data.id;
    this.data = { ...found, key: this.data.key };
    if (isNew && this.hasTables) this.onEmptied();
    this.hasTables = true;
  }
}

/** Marks the store unless it is marked, and returns its mark. */
async function mark(queue: StoredQueue<IdentityData>, fresh: IdentityData): Promise<IdentityData> {
  const job =
    (await queue.getJob(JOB_ID)) ?? (await queue.add('store', fresh, { jobId: JOB_ID }), await queue.getJob(JOB_ID));
  const { key, id } = job?.data ?? fresh;
  return typeof key === 'string' && Buffer.from(key, 'base64').length === KEY_BYTES ? { key, id } : { ...fresh, id };
}
