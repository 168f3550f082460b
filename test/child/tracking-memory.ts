// One figure of tracking's memory, sent to the parent: node --expose-gc --import ./test/child/ts.mjs <this> <what> <count>
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { RtSmsService, type SendResult } from 'nestjs-rt-sms';
import { SECRET, startAccount, startGateway } from '../../bench/account.js';

const [what = '', given = '', keep] = process.argv.slice(2);
const count = Number(given);

const MB = 2 ** 20;
function heap(): number {
  globalThis.gc!();
  globalThis.gc!();
  return process.memoryUsage().heapUsed;
}
const tell = (figures: Record<string, number>) =>
  new Promise<void>((resolve) => process.send!(figures, () => resolve()));
/** Generates new strings each time, like those read from a socket. */
function* uids(from: number, to: number): Generator<string> {
  for (let n = from; n < to; n++) yield `message-id-${(n * 2_654_435_761).toString(36).padStart(12, 'a').slice(-12)}`;
}

const figures = {
  /** Bytes per tracked message, and per message that is remembered after its final status. */
  async tracked() {
    const app = await startAccount({
      url: 'http://127.0.0.1:9/',
      tracking: { schedule: [3_600_000], limit: count, remember: count },
    });
    const sms = app.get(RtSmsService);
    let finals = 0;
    sms.statuses$.subscribe(() => finals++);
    await sms.track(uids(0, 1_000));
    const before = heap();
    await sms.track(uids(1_000, count));
    const tracked = heap();
    for (const id of uids(0, count))
      await sms.handleCallback({ id, status: 'delivered', parts: '1' }, { secret: SECRET });
    const settled = heap();
    await app.close();
    const each = (bytes: number) => bytes / (count - 1_000);
    return { followed: each(tracked - before), remembered: each(settled - before), finals };
  },

  /** Hints about messages that do not exist: first without other work, then during a send, when hints have to wait. */
  async hints() {
    let requests = 0;
    const gateway = createServer((request) => {
      requests++;
      request.resume();
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => gateway.once('listening', resolve));
    const { port } = gateway.address() as AddressInfo;
    const app = await startAccount({
      url: `http://127.0.0.1:${port}/send`,
      callback: {},
      timeouts: { sendMs: 120_000 },
      tracking: { schedule: [1] },
    });
    const sms = app.get(RtSmsService);
    let events = 0;
    app.get(EventEmitter2).onAny(() => events++);
    const flood = async (from: number, to: number) => {
      let n = 0;
      for (const id of uids(from, to)) {
        await sms.handleCallback({ id, status: 'delivered', parts: '1' });
        if (++n % 1_000 === 0) await new Promise(setImmediate);
      }
    };
    const growth = async (from: number) => {
      await flood(from, from + 10_000);
      const before = heap();
      let most = 0;
      for (let part = 0; part < 5; part++) {
        const start = from + 10_000 + (part * count) / 10;
        await flood(start, start + count / 10);
        most = Math.max(most, heap() - before);
      }
      return most;
    };
    const idle = await growth(0);
    const sent = sms.send({ msisdn: '79270000001', text: 'Hello' }).catch(() => undefined);
    await new Promise((resolve) => gateway.once('request', resolve));
    const most = Math.max(idle, await growth(count));
    const figures = { requests: requests - 1, growthMb: most / MB, events };
    gateway.closeAllConnections();
    await sent;
    await app.close();
    gateway.close();
    return figures;
  },

  /** Callbacks with the right secret about invented uids. */
  async invented() {
    const app = await startAccount({ url: 'http://127.0.0.1:9/', tracking: { schedule: [1] } });
    const sms = app.get(RtSmsService);
    let events = 0;
    sms.statuses$.subscribe(() => events++);
    const flood = async (from: number, to: number) => {
      let n = 0;
      for (const id of uids(from, to)) {
        await sms.handleCallback({ id, status: 'delivered', parts: '1' }, { secret: SECRET });
        if (++n % 1_000 === 0) await new Promise(setImmediate);
      }
    };
    await flood(0, 20_000);
    const before = heap();
    await flood(20_000, count);
    const growthMb = (heap() - before) / MB;
    const repeated = events;
    await flood(count - 10_000, count);
    await app.close();
    return { events, repeated: events - repeated, growthMb };
  },

  /** Resident set while `sendMany` reads a generator; `keep` is the control that keeps the results. */
  async rows() {
    const app = await startAccount({ url: await startGateway(), tracking: { limit: 5_000, remember: 5_000 } });
    const sms = app.get(RtSmsService);
    function* rows() {
      for (let n = 0; n < count; n++) yield { msisdn: 79_270_000_000 + n, text: `Hello ${n}` };
    }
    const kept: SendResult[] = [];
    const resident: number[] = [];
    let done = 0;
    const began = performance.now();
    for await (const result of sms.sendMany(rows(), { concurrency: 50 })) {
      if (!result.ok) throw result.error;
      if (keep) kept.push(result);
      if (++done % (count / 20) === 0) {
        globalThis.gc!();
        resident.push(process.memoryUsage().rss / MB);
      }
    }
    const perSecond = (count / (performance.now() - began)) * 1_000;
    await app.close();
    const highest = (values: number[]) => Math.max(...values);
    // After the first half, all limits of what is kept on purpose are reached.
    return {
      growthMb: highest(resident.slice(10)) - highest(resident.slice(5, 10)),
      residentMb: resident.at(-1)!,
      perSecond,
      done,
    };
  },
};

await tell(await figures[what as keyof typeof figures]());
process.disconnect();
