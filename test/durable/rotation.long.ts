// ROTATION_MESSAGES=10000 ROTATION_CHANGES=20 measures the longest pause as well, on a machine that has nothing else to do.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import type { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd } from '../platforms.js';
import { gatewayOf } from './account.js';
import type { ReplicaSetting } from './replica.js';
import { Replicas, type ReplicaProcess } from './replicas.js';
import { describeStores, storeOfSuite, type Service } from './services.js';

jest.setTimeout(300_000);

const { ROTATION_MESSAGES, ROTATION_CHANGES } = process.env;
const MESSAGES = Number(ROTATION_MESSAGES ?? 1_500);
const CHANGES = Number(ROTATION_CHANGES ?? 4);
const REPLICAS = 3;
const LONGEST_PAUSE_MS = 2_000;
/** Milliseconds by which the file is later than the gateway, in every second measured change. */
const LAG_MS = 150;

const ids = (count: number) => Array.from({ length: count }, (_, n) => `m${n}`);
const passwordOf = (change: number) => `Losung-${change}-${'abcdefghijklmnopqrstuvwxyz'[change]!.repeat(6)}`;

/** A mounted secret that is replaced in one step. */
function secretFile(password: string) {
  const folder = mkdtempSync(join(tmpdir(), 'rt-sms-rotation-'));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'password');
  const write = (next: string) => {
    writeFileSync(`${path}.next`, next);
    renameSync(`${path}.next`, path);
  };
  write(password);
  return { path, write };
}

async function replicasOf(
  gateway: RtSmsSimulator,
  { options }: Service,
  more: Partial<ReplicaSetting>,
  count = REPLICAS,
) {
  const { login, password, url } = gateway.options;
  const replicas = new Replicas({ gateway: { login, password, url }, store: options, ...more });
  const forks: ReplicaProcess[] = [];
  for (let n = 0; n < count; n++) forks.push(await replicas.fork());
  /** Lines of all replicas that contain this text. */
  const logged = (part: string) => forks.flatMap(({ lines }) => lines.filter(({ text }) => text.includes(part)));
  return { replicas, forks, logged };
}

describeStores('the password changes while three replicas send, on %s', (kind) => {
  const store = storeOfSuite(kind);
  beforeEach(() => store.clear());

  it('and is read from a file: every message is sent once, and none is refused', async () => {
    const credentials = kind === 'Redis' ? 'both' : 'body';
    const gateway = await gatewayOf({ password: passwordOf(0), maxMessages: MESSAGES + 1 });
    const file = secretFile(passwordOf(0));
    const setting: Partial<ReplicaSetting> = { passwordFile: file.path, options: { credentials, tracking: false } };
    const { replicas, forks, logged } = await replicasOf(gateway, store, setting);
    let longestMs = 0;
    let sentAt = Infinity;
    let changes = 0;
    const every = Math.floor(MESSAGES / (CHANGES + 1));
    gateway.on('message', () => {
      const now = performance.now();
      longestMs = Math.max(longestMs, now - sentAt);
      sentAt = now;
      if (gateway.messages.length % every !== 0 || changes === CHANGES) return;
      const next = passwordOf(++changes);
      gateway.changePassword(next);
      if (ROTATION_MESSAGES === undefined || changes % 2 === 0) file.write(next);
      else void sleep(LAG_MS).then(() => file.write(next));
    });
    const all = ids(MESSAGES);
    for (let begin = 0; begin < all.length; begin += 500) await forks[0]!.enqueue(all.slice(begin, begin + 500));
    const settled = () => replicas.events.filter(({ event }) => event !== 'status');
    await replicas.until(() => settled().length >= MESSAGES);
    expect(changes).toBe(CHANGES);
    expect(settled().filter(({ event }) => event !== 'accepted')).toEqual([]);
    expect(gateway.messages.map(({ text }) => text).toSorted()).toEqual(all.toSorted());
    // On a busy machine a replica may stall until the password that it has just read has changed again.
    if (ROTATION_MESSAGES === undefined) return;
    expect(logged('paused')).toEqual([]);
    console.log(`${kind}, ${credentials}: longest pause ${Math.round(longestMs)} ms, POSTs ${gateway.requests.post}`);
    expect(longestMs).toBeLessThanOrEqual(LONGEST_PAUSE_MS);
  });

  it('and the file is later by more than a read: the messages wait, and none is refused; with a constant none leaves', async () => {
    const gateway = await gatewayOf({ password: passwordOf(0) });
    const file = secretFile(passwordOf(0));
    // The control has a queue of its own, in which every message waits.
    const control = await replicasOf(
      gateway,
      store,
      { engine: kind === 'Redis' ? { prefix: 'control' } : { schema: 'control' } },
      1,
    );
    const { replicas, forks, logged } = await replicasOf(gateway, store, { passwordFile: file.path }, 1);
    gateway.changePassword(passwordOf(1));
    await Promise.all([control.forks[0]!.enqueue(ids(5)), forks[0]!.enqueue(ids(20))]);
    await control.replicas.until(() => control.logged('paused').length > 0);
    await replicas.until(() => logged('paused').length > 0);
    expect(gateway.messages).toEqual([]);
    file.write(passwordOf(1));
    const outcomes = () => replicas.events.filter(({ event }) => event !== 'status').map(({ event }) => event);
    await replicas.until(() => outcomes().length >= 20);
    expect(outcomes()).toEqual(ids(20).map(() => 'accepted'));
    expect(gateway.messages).toHaveLength(20);
    expect(control.replicas.events).toEqual([]);
  });
});
