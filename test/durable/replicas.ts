import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { BullMqRole } from 'nestjs-rt-sms-bullmq';
import { atEnd } from '../platforms.js';
import type { Service } from './services.js';

export interface ReplicaSetting {
  gateway: { login: string; password: string; url: string };
  store: Service['options'];
  role?: BullMqRole;
  lockDurationMs?: number;
  stalledIntervalMs?: number;
  concurrency?: number;
  /** Of the module. */
  options?: object;
  /** A worker of BullMQ that only POSTs, without any protocol. */
  bare?: boolean;
  /** Kills itself as soon as it has fetched a message. */
  diesBeforeMark?: boolean;
  log?: boolean;
}

export interface ReplicaEvent {
  event: string;
  id: string;
  uid?: string | undefined;
  ref?: string | undefined;
  status?: string | undefined;
  final?: boolean | undefined;
}
export type ReplicaTells = ReplicaEvent | { ready: string } | { enqueued: number } | { failed: string };

const PROGRAM = fileURLToPath(new URL('./replica-process.ts', import.meta.url));
const LOADER = new URL('../child/ts.mjs', import.meta.url).href;

/** The replicas of an application, and what all of them have told so far. */
export class Replicas {
  readonly events: ReplicaEvent[] = [];
  readonly running: Replica[] = [];
  private readonly waiting = new Set<() => void>();

  constructor(readonly setting: ReplicaSetting) {
    atEnd(() => Promise.all(this.running.map((replica) => replica.kill())));
  }

  async start(more: Partial<ReplicaSetting> = {}): Promise<Replica> {
    const replica = new Replica({ ...this.setting, ...more }, (event) => {
      this.events.push(event);
      this.look();
    });
    this.running.push(replica);
    void replica.exited.then(() => {
      this.running.splice(this.running.indexOf(replica), 1);
      this.look();
    });
    await replica.ready;
    this.look();
    return replica;
  }

  async oneReady(): Promise<Replica> {
    let found: Replica | undefined;
    await this.until(() => (found = this.running.find(({ isReady }) => isReady)) !== undefined);
    return found!;
  }

  /** Resolves once `test` is true; looks again at each event. */
  until(test: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!test()) return;
        this.waiting.delete(look);
        resolve();
      };
      this.waiting.add(look);
      look();
    });
  }

  look(): void {
    for (const look of this.waiting) look();
  }

  outcomes(id: string): string[] {
    const names = this.events.filter((seen) => seen.id === id && seen.event !== 'status').map(({ event }) => event);
    // One that was told before a crash is told again: at least once.
    return [...new Set(names)];
  }

  /** Uids that were accepted, and those of them that have no final status yet. */
  get open(): string[] {
    const final = new Set(this.events.filter((seen) => seen.final).map(({ uid }) => uid));
    return this.events.flatMap(({ event, uid }) => (event === 'accepted' && uid && !final.has(uid) ? [uid] : []));
  }
}

export class Replica {
  private readonly child: ChildProcess;
  readonly ready: Promise<string>;
  readonly exited: Promise<unknown>;
  url = '';
  isReady = false;
  private answered: (told: { enqueued: number } | { failed: string }) => void = () => undefined;

  constructor(setting: ReplicaSetting, heard: (event: ReplicaEvent) => void) {
    this.child = fork(PROGRAM, [JSON.stringify(setting)], { execArgv: ['--import', LOADER] });
    this.exited = once(this.child, 'exit');
    this.ready = new Promise((resolve, reject) => {
      this.child.once('exit', (code, signal) => reject(new Error(`a replica ended at its start: ${code ?? signal}`)));
      this.child.on('message', (told: ReplicaTells) => {
        if ('ready' in told) {
          this.isReady = true;
          resolve((this.url = told.ready));
        } else if ('event' in told) heard(told);
        else this.answered(told);
      });
    });
  }

  enqueue(ids: string[]): Promise<{ enqueued: number } | { failed: string }> {
    return new Promise((resolve) => {
      this.answered = resolve;
      this.child.send({ enqueue: ids });
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /** As a deployment ends it: SIGTERM, and it may take its time. */
  async end(): Promise<void> {
    this.child.kill('SIGTERM');
    await this.exited;
  }
}

/** Takes the gateway's callbacks and gives each to one of the replicas; where none is there it is lost, as in life. */
export async function balancer(replicas: Replicas): Promise<string> {
  let turn = 0;
  const server = createServer((request, response) => {
    const up = replicas.running.filter(({ url }) => url !== '');
    const to = up[turn++ % Math.max(1, up.length)];
    const answer = to
      ? fetch(to.url + request.url!, { signal: AbortSignal.timeout(2_000) }).then(({ status }) => status)
      : Promise.resolve(503);
    answer
      .catch(() => 502)
      .then((status) => response.writeHead(status).end())
      .catch(() => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/rt-sms/callback/a-secret-of-sixteen`;
}
