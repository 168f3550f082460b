import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text as textOf } from 'node:stream/consumers';
import type { AddressInfo } from 'node:net';
import { EventEmitter2 } from '@nestjs/event-emitter';
import { RtSmsEvents, type RtSmsError, type RtSmsFailedEvent } from 'nestjs-rt-sms';
import { atEnd } from '../platforms.js';
import { lateBy } from '../timing.js';
import { failureOf, msisdnOf, startAccount, startFault, TEXT } from './account.js';

const GRACE_MS = 5_000;

/** A gateway controlled by the text: `slow` is answered when the test allows it, `unsaved` then with `system_error`. */
async function startGateway() {
  const texts: string[] = [];
  let release = () => undefined as void;
  const released = new Promise<void>((resolve) => (release = resolve));
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { text } = JSON.parse(await textOf(request)) as { text: string };
    texts.push(text);
    server.emit('text', text);
    if (text === 'never') return;
    const said =
      text === 'unsaved' ? { reason: 'system_error', status: 'error' } : { result: { uid: text }, status: 'ok' };
    await released;
    response.end(JSON.stringify(said));
  };
  const server = createServer((request, response) => void answer(request, response));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const read = async (...wanted: string[]) => {
    while (!wanted.every((text) => texts.includes(text))) await once(server, 'text');
  };
  return { url: `http://127.0.0.1:${port}/api/v2/send_message`, texts, read, release };
}

async function timed(work: Promise<unknown>) {
  const began = performance.now();
  await work;
  return performance.now() - began;
}

const outcomeOf = (send: Promise<unknown>) =>
  send.then(
    () => 'sent',
    ({ outcome, name }: RtSmsError) => `${outcome} ${name}`,
  );

describe('app.close()', () => {
  it('rejects new sends, lets those in flight finish, and rejects the rest with the right outcome', async () => {
    const gateway = await startGateway();
    const { sms, app } = await startAccount(gateway, { connections: 2 });
    const send = (text: string) => outcomeOf(sms.send({ msisdn: msisdnOf(1), text }));
    const [slow, never, queued] = [send('slow'), send('never'), send('queued')];
    await gateway.read('slow', 'never');
    const closing = timed(app.close());
    const late = lateBy(GRACE_MS, closing);
    expect(await queued).toBe('not_sent RtSmsOverloadedError');
    expect(await send('late')).toBe('not_sent RtSmsOverloadedError');
    gateway.release();
    expect(await slow).toBe('sent');
    expect(await never).toBe('unknown RtSmsAbortedError');
    expect(await closing).toBeGreaterThan(GRACE_MS - 50);
    expect(await late).toBeLessThan(1_000);
    expect(gateway.texts.toSorted()).toEqual(['never', 'slow']);
  }, 30_000);

  it('has one grace for all, also with a queue; what has not left is told so at once', async () => {
    const gateway = await startGateway();
    const { sms, app } = await startAccount(gateway, { connections: 1 });
    const outcomes: string[] = [];
    const emitter = app.get(EventEmitter2);
    for (const name of [RtSmsEvents.refused, RtSmsEvents.outcomeUnknown])
      emitter.on(name, ({ id, error }: RtSmsFailedEvent) => outcomes.push(`${name} ${id} ${error.name}`));
    await sms.enqueue({ msisdn: msisdnOf(1), text: 'never' }, { id: 'first' });
    await gateway.read('never');
    await sms.enqueue({ msisdn: msisdnOf(2), text: 'queued' }, { id: 'second' });
    const waiting = outcomeOf(sms.send({ msisdn: msisdnOf(3), text: 'waiting' }));
    const closing = lateBy(GRACE_MS, app.close());
    expect(await lateBy(250, waiting)).toBeLessThan(250);
    expect(await waiting).toBe('not_sent RtSmsOverloadedError');
    expect(await closing).toBeLessThan(1_000);
    expect(outcomes.toSorted()).toEqual([
      'rt-sms.outcome-unknown first RtSmsAbortedError',
      'rt-sms.refused second RtSmsOverloadedError',
    ]);
    expect(gateway.texts).toEqual(['never']);
  }, 30_000);

  it('ends as soon as the last has finished', async () => {
    const gateway = await startGateway();
    const { sms, app } = await startAccount(gateway);
    const slow = outcomeOf(sms.send({ msisdn: msisdnOf(1), text: 'slow' }));
    await gateway.read('slow');
    const closing = app.close();
    gateway.release();
    expect(await lateBy(300, closing)).toBeLessThan(500);
    expect(await slow).toBe('sent');
  });

  it('does not retry any more', async () => {
    const gateway = await startGateway();
    const { sms, app } = await startAccount(gateway, { connections: 1, retry: { send: 10 } });
    const unsaved = failureOf(sms.send({ msisdn: msisdnOf(1), text: 'unsaved' }));
    await gateway.read('unsaved');
    const queued = failureOf(sms.send({ msisdn: msisdnOf(2), text: 'queued' }));
    const closing = app.close();
    // Its rejection shows that the shutdown has begun.
    expect(await queued).toMatchObject({ outcome: 'not_sent' });
    gateway.release();
    await closing;
    expect(await unsaved).toMatchObject({ outcome: 'rejected', reason: 'system_error', attempts: 1 });
    expect(gateway.texts).toEqual(['unsaved']);
  });

  it.each(['refused', 'connect-hang', 'tls-hang'] as const)('does not wait for a connection: %s', async (fault) => {
    const server = await startFault(fault);
    const { sms, app } = await startAccount(server, { retry: { send: 10 } });
    const send = outcomeOf(sms.send({ msisdn: msisdnOf(1), text: TEXT }));
    // Wait until it is in flight.
    await new Promise(setImmediate);
    expect(await lateBy(250, app.close())).toBeLessThan(250);
    expect(await send).toBe('not_sent RtSmsOverloadedError');
  });
});

/** Ends an application in a separate process. Returns the outcomes of its sends, how it ended, and the duration. */
async function endProcess(mode: 'signal' | 'close') {
  const gateway = await startGateway();
  const child = fork(new URL('../child/ending.ts', import.meta.url), [gateway.url, mode], {
    execArgv: ['--import', new URL('../child/ts.mjs', import.meta.url).href],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  atEnd(() => child.kill('SIGKILL'));
  const told = textOf(child.stdout!);
  const ended = once(child, 'exit');
  await gateway.read('slow', 'never');
  child.send('end');
  if (mode === 'signal') child.kill('SIGTERM');
  const took = timed(ended);
  // Wait until it has reported that it rejects new sends, or the connection would be free for the next one.
  const said = { text: '' };
  child.stdout!.on('data', (data) => (said.text += String(data)));
  while (!/queued/.test(said.text) || !/paced/.test(said.text)) {
    const more = await Promise.race([once(child.stdout!, 'data'), ended.then(() => undefined)]);
    if (!more) break;
  }
  gateway.release();
  const tookMs = await took;
  return {
    tookMs,
    ended: await ended,
    told: (await told).trim().split('\n').toSorted(),
    texts: gateway.texts.toSorted(),
  };
}

it('an application ends within the grace, by a signal and by its own close(), and nothing keeps its process', async () => {
  const [bySignal, byClose] = await Promise.all([endProcess('signal'), endProcess('close')]);
  for (const { tookMs, told, texts } of [bySignal, byClose]) {
    expect(told).toEqual([
      'never unknown RtSmsAbortedError',
      'paced not_sent RtSmsOverloadedError',
      'queued not_sent RtSmsOverloadedError',
      'slow sent',
    ]);
    expect(texts).toEqual(['never', 'slow']);
    expect(tookMs).toBeLessThan(GRACE_MS + 4_000);
  }
  // Nest ends the process by the same signal; a process that only closed ends because nothing keeps it running.
  expect([bySignal.ended, byClose.ended]).toEqual([
    [null, 'SIGTERM'],
    [0, null],
  ]);
}, 40_000);
