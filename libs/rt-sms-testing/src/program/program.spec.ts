import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import { call, send } from '../../test/support.js';
import { RtSmsSimulator } from '../simulator.js';
import { runSimulator } from './program.js';

let out = '';
let err = '';
let told: (() => void)[] = [];

beforeEach(() => {
  out = err = '';
  told = [];
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    for (const tell of told) tell();
    return true;
  });
  jest.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
});
afterEach(() => jest.restoreAllMocks());

const printed = async (pattern: RegExp) => {
  for (;;) {
    const match = pattern.exec(out);
    if (match) return match[1] ?? '';
    await new Promise<void>((tell) => told.push(tell));
  }
};

it('says where it is, serves the inbox, and ends on a signal', async () => {
  const running = runSimulator(['--port', '0', '--login', 'me'], { RT_SMS_SIM_PASSWORD: 'my' });
  const inbox = await printed(/inbox +(\S+)\n[^]*\n\n.*--numbers/);
  expect(out).toMatch(
    /url +http:\/\/127.0.0.1:\d+\/api\/v2\/send_message\n +login +me\n +password +my\n +callbacks none/,
  );
  expect((await call(inbox)).text).toContain('<!doctype html>');
  process.emit('SIGTERM');
  expect(await running).toBe(0);
  await expect(call(inbox)).rejects.toThrow('ECONNREFUSED');
});

it('logs JSON on demand', async () => {
  const running = runSimulator(['--port', '0', '--json', '--manual'], {});
  const url = await printed(/"event":"started","url":"([^"]+)"/);
  await send({ url } as RtSmsSimulator);
  await printed(/"event":"exchange"/);
  process.emit('SIGINT');
  await running;
  const lines = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toMatchObject([
    { event: 'started', login: 'simulator' },
    { event: 'message', msisdn: '79270000001', status: 'accepted', time: expect.any(String) },
    { event: 'exchange', method: 'POST', status: 200 },
  ]);
  expect(out).not.toContain('secret');
});

it('plays a script', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rt-sms-script-'));
  const file = join(folder, 'script.json');
  await writeFile(file, '[{ "waitMessages": 1 }, { "report": "failed" }]');
  const running = runSimulator(['--port', '0', '--json', '--manual', '--script', file], {});
  await send({ url: await printed(/"url":"([^"]+)"/) } as RtSmsSimulator);
  await printed(/"event":"status".*"status":"failed"/);
  process.emit('SIGTERM');
  expect(await running).toBe(0);

  await writeFile(file, '[{ "wait": 1 }]');
  expect(await runSimulator(['--script', file], {})).toBe(2);
  expect(err).toContain(`--script ${file}: step 1 must be one of`);
  await rm(folder, { recursive: true });
});

it('says what is wrong, in few words', async () => {
  expect(await runSimulator(['--prot'], {})).toBe(2);
  expect(err).toContain('there is no --prot');
  const gateway = await RtSmsSimulator.start();
  err = '';
  const { port } = new URL(gateway.url);
  expect(await runSimulator(['--port', port], {})).toBe(1);
  expect(err).toBe(`RtSmsSimulator cannot listen on port ${port} of 127.0.0.1: the port is already in use\n`);
  await gateway.close();
  expect(await runSimulator(['--script', '/none.json'], {})).toBe(2);
  expect(err).toMatch(/--script \/none\.json: .*ENOENT/);
  expect(out).toBe('');
});

it('helps', async () => {
  expect(await runSimulator(['--help'], {})).toBe(0);
  expect(out).toMatch(/^Usage: nestjs-rt-sms-testing/);
  out = '';
  expect(await runSimulator(['--numbers'], {})).toBe(0);
  expect(out).toContain('79990000003  rejected, with err 11\n');
});
