import type { BullMqRole } from 'nestjs-rt-sms-bullmq';
import { StartError } from './ports.js';

const ROLES: readonly BullMqRole[] = ['both', 'producer', 'worker'];

/** Where queued messages and the journal live. */
export class Store {
  /** What `bullMq(…)` takes; nothing: all is in the memory of this process. */
  readonly queue: { connection: string } | { postgres: string } | undefined;
  /** The PostgreSQL of the journal. */
  readonly journal: string | undefined;
  /** What this process does with the queue. */
  readonly role: BullMqRole;

  /**
   * `REDIS_URL`: the queue is there. `DATABASE_URL`: the journal is there, and without a Redis the queue, too.
   * @throws StartError if one of them is set to something else
   */
  constructor(environment: NodeJS.ProcessEnv) {
    const redis = urlFrom(environment, 'REDIS_URL', ['redis:', 'rediss:']);
    this.journal = urlFrom(environment, 'DATABASE_URL', ['postgres:', 'postgresql:']);
    this.queue = redis ? { connection: redis } : this.journal ? { postgres: this.journal } : undefined;
    const role = environment.QUEUE_ROLE || 'both';
    const known = ROLES.find((name) => name === role);
    if (!known) throw new StartError(`QUEUE_ROLE must be ${ROLES.join(', ')}, not '${role}'`);
    if (known !== 'both' && !this.journal) {
      throw new StartError(`QUEUE_ROLE=${known} needs DATABASE_URL: several processes must share the journal`);
    }
    this.role = known;
  }
}

function urlFrom(environment: NodeJS.ProcessEnv, variable: string, protocols: string[]): string | undefined {
  const value = environment[variable]?.trim();
  if (!value) return undefined;
  if (URL.canParse(value) && protocols.includes(new URL(value).protocol)) return value;
  // What was given may hold a password.
  throw new StartError(
    `${variable} must be a URL that begins with ${protocols.map((name) => `${name}//`).join(' or ')}`,
  );
}
