import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { atEnd } from '../platforms.js';
import {
  SECRET,
  startReplica,
  type ReplicaEnqueueOptions,
  type ReplicaEvent,
  type ReplicaSetting,
  type RunningReplica,
} from './replica.js';

export interface ReplicaLine {
  level: 'error' | 'warn';
  text: string;
}

export type ReplicaTells = ReplicaEvent | ReplicaLine | { ready: string } | { enqueued: boolean; failed?: string };

const PROGRAM = fileURLToPath(new URL('./replica-process.ts', import.meta.url));
const LOADER = new URL('../child/ts.mjs', import.meta.url).href;
const CLOCK = new URL('../child/clock.mjs', import.meta.url).href;

/** The replicas of an application, and all events that they have sent so far. */
export class Replicas {
  readonly events: ReplicaEvent[] = [];
  readonly running: RunningReplica[] = [];
  private readonly waiting = new Set<() => void>();

  constructor(readonly setting: ReplicaSetting) {}

  /** Starts a replica in this process. It cannot be killed. */
  async start(more: Partial<ReplicaSetting> = {}): Promise<RunningReplica> {
    const replica = await startReplica({ ...this.setting, ...more }, (event) => this.heard(event));
    let ended: Promise<unknown> | undefined;
    const running: RunningReplica = {
      ...replica,
      end: () => {
        this.ended(running);
        return (ended ??= replica.end());
      },
    };
    atEnd(running.end);
    return this.started(running);
  }

  /** Starts a replica in a separate process, which may be killed. */
  async fork(more: Partial<ReplicaSetting> = {}): Promise<ReplicaProcess> {
    const setting = { ...this.setting, ...more };
    const replica = new ReplicaProcess(
      setting,
      (event) => this.heard(event),
      () => this.look(),
    );
    atEnd(() => replica.kill());
    void replica.exited.then(() => this.ended(replica));
    await replica.ready;
    return this.started(replica);
  }

  /** Removes a running process from the list and returns it. */
  async take(): Promise<ReplicaProcess> {
    await this.until(() => this.running.length > 0);
    const [replica] = this.running as ReplicaProcess[];
    this.ended(replica!);
    return replica!;
  }

  /** Resolves when `test` is true; it is checked at each event, and at each line of a separate process. */
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

  /** Names of the outcome events of an id, without repetitions: events from before a crash are emitted again. */
  outcomes(id: string): string[] {
    const names = this.events.filter((seen) => seen.id === id && seen.event !== 'status').map(({ event }) => event);
    return [...new Set(names)];
  }

  /** Uids that were accepted and lack a final status. */
  get open(): string[] {
    const final = new Set(this.events.filter((seen) => seen.final).map(({ uid }) => uid));
    return this.events.flatMap(({ event, uid }) => (event === 'accepted' && uid && !final.has(uid) ? [uid] : []));
  }

  private heard(event: ReplicaEvent): void {
    this.events.push(event);
    this.look();
  }

  private started<T extends RunningReplica>(replica: T): T {
    this.running.push(replica);
    this.look();
    return replica;
  }

  private ended(replica: RunningReplica): void {
    if (this.running.includes(replica)) this.running.splice(this.running.indexOf(replica), 1);
    this.look();
  }

  /** Checks the pending conditions again. */
  look(): void {
    for (const look of this.waiting) look();
  }
}

export class ReplicaProcess implements RunningReplica {
  private readonly child: ChildProcess;
  private isKilled = false;
  readonly ready: Promise<string>;
  readonly exited: Promise<unknown>;
  url = '';
  /** Errors and warnings that it has logged. */
  readonly lines: ReplicaLine[] = [];
  private answered: (told: { failed?: string }) => void = () => undefined;

  constructor(setting: ReplicaSetting, heard: (event: ReplicaEvent) => void, onLine: () => void) {
    this.child = fork(PROGRAM, [JSON.stringify(setting)], {
      execArgv: ['--import', LOADER, '--import', CLOCK],
      env: { ...process.env, CLOCK_SHIFT_MS: String(setting.clockShiftMs ?? 0) },
    });
    this.exited = once(this.child, 'exit');
    this.ready = new Promise((resolve, reject) => {
      this.child.once('exit', (code, signal) => {
        // The end of a test may kill a replica that is still starting.
        if (!this.isKilled) reject(new Error(`a replica ended at its start: ${code ?? signal}`));
      });
      this.child.on('message', (told: ReplicaTells) => {
        if ('ready' in told) resolve((this.url = told.ready));
        else if ('event' in told) heard(told);
        else if ('level' in told) {
          this.lines.push(told);
          onLine();
        } else this.answered(told);
      });
    });
    this.ready.catch(() => undefined);
  }

  async enqueue(ids: string[], options?: ReplicaEnqueueOptions): Promise<void> {
    const answer = new Promise<{ failed?: string }>((resolve) => (this.answered = resolve));
    this.child.send({ enqueue: ids, options });
    const { failed } = await answer;
    if (failed !== undefined) throw new Error(failed);
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.isKilled = true;
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /** Ends it gracefully, as a deployment does. */
  async leave(): Promise<void> {
    this.child.send({ leave: true });
    await this.exited;
  }

  end(): Promise<void> {
    return this.kill();
  }
}

/** Forwards each callback of the gateway to one of the replicas. Without a replica it is lost, as in production. */
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
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/rt-sms/callback/${SECRET}`;
}
