import type { BullMqRole } from 'nestjs-rt-sms-bullmq';
import { StartError } from './ports.js';

const ROLES: readonly BullMqRole[] = ['both', 'producer', 'worker'];

/** Stores of the queue and of the journal. */
export class Store {
  /** Options for `bullMq(…)`; `undefined` keeps the queue in the memory of this process. */
  readonly queue: { connection: string } | { postgres: string } | undefined;
  /** URL of the journal's PostgreSQL; `undefined` keeps the journal in memory. */
  readonly journal: string | undefined;
  /** Role of this process for the queue. */
  readonly role: BullMqRole;

  /**
   * `DATABASE_URL` holds the journal and the queue, so that one transaction writes both. `REDIS_URL` holds the queue alone.
   * @throws StartError if one of the variables is invalid
   */
  constructor(environment: NodeJS.ProcessEnv) {
    const redis = urlFrom(environment, 'REDIS_URL', ['redis:', 'rediss:']);
    this.journal = urlFrom(environment, 'DATABASE_URL', ['postgres:', 'postgresql:']);
    if (redis && this.journal)
      throw new StartError('Set REDIS_URL or DATABASE_URL: with a database, the queue lies in it beside the journal');
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
  // The value is not in the message, because it may contain a password.
  throw new StartError(
    `${variable} must be a URL that begins with ${protocols.map((name) => `${name}//`).join(' or ')}`,
  );
}
