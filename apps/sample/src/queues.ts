export const QUEUE_NAMES = ['send', 'check'] as const;
export const QUEUE_STATES = ['waiting', 'prioritized', 'active', 'delayed', 'failed'] as const;

export type QueueCounts = { name: (typeof QUEUE_NAMES)[number] } & Partial<
  Record<(typeof QUEUE_STATES)[number], number>
>;

/** The queues of the account: send jobs and check jobs. */
export abstract class Queues {
  /** Returns `undefined` if the store does not answer in time. */
  abstract counts(): Promise<QueueCounts[] | undefined>;
}
