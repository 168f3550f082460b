import { readFile } from 'node:fs/promises';
import { jest } from '@jest/globals';
import { refusingPort } from '../faults/dead-ends.js';
import { atEnd } from '../platforms.js';
import {
  compileTerminal,
  environment,
  PASSWORD,
  runHere,
  runToEnd,
  startGateway,
  temporary,
  TerminalProcess,
} from './compiled.js';

jest.setTimeout(90_000);

/** Closed until the test is over: nobody else gets it meanwhile. */
async function closedPort(): Promise<string> {
  const { host, close } = await refusingPort();
  atEnd(close);
  return host;
}
const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

describe('as a process', () => {
  let program: Awaited<ReturnType<typeof compileTerminal>>;
  beforeAll(async () => {
    program = await compileTerminal();
  }, 120_000);
  afterAll(() => program.remove());

  it('sends, and asks what became of it', async () => {
    const { gateway, env } = await startGateway();
    const sent = await runToEnd(program.bin, ['send', '8 927 000-00-01', 'Привет'], env);
    const [{ uid, ...message }] = gateway.messages as [(typeof gateway.messages)[number]];
    expect(message).toMatchObject({ msisdn: '79270000001', text: 'Привет', shortcode: 'SHOP' });
    expect(sent).toEqual({ code: 0, stdout: `${uid}\nSent to 7927*****01 as SHOP, 1 segment\n`, stderr: '' });

    await gateway.report(uid, 'delivered');
    const { code, stdout } = await runToEnd(program.bin, ['status', uid, '--json'], env);
    expect(json(stdout)).toMatchObject({ uid, status: 'delivered', final: true, msisdn: '7927*****01' });
    expect(stdout).not.toContain('Привет');
    expect(code).toBe(0);
  });

  it('finds the account in a file, too', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const { RT_SMS_SHORTCODE: shortcode = '', ...rest } = env;
    const variables = Object.entries({ ...rest, RT_SMS_SHORTCODE: 'another' });
    const file = await write('.env', variables.map(([name, value]) => `${name}=${value}\n`).join(''));
    const args = ['send', '79270000001', 'Hi', '--env', file];
    // What the environment has goes first.
    await expect(runToEnd(program.bin, args, { RT_SMS_SHORTCODE: shortcode })).resolves.toMatchObject({ code: 0 });
    expect(gateway.messages).toMatchObject([{ shortcode }]);
    for (const missing of [
      ['--env', '/none'],
      ['--env=/none', '--json'],
    ]) {
      const { code, stdout, stderr } = await runToEnd(program.bin, ['send', '79270000001', 'Hi', ...missing], env);
      expect(stdout + stderr).toMatch(/--env: .*ENOENT/);
      expect(code).toBe(2);
    }
    expect(gateway.messages).toHaveLength(1);
  });

  it('says which version it is', async () => {
    const { version } = json(await readFile('libs/rt-sms/package.json', 'utf8'));
    const told = { code: 0, stdout: `${String(version)}\n`, stderr: '' };
    await expect(runToEnd(program.bin, ['--version'])).resolves.toEqual(told);
    const { stdout } = await runToEnd(program.bin, ['send', '--version', '--json']);
    expect(json(stdout)).toEqual({ version });
  });

  it('tells of wrong flags at once, before it has loaded anything', async () => {
    const { code, stdout, stderr } = await runToEnd(program.bin, ['send', '--shrotcode', 'x', '79270000001', 'Hi']);
    expect(stderr).toMatch(/^there is no --shrotcode, maybe --shortcode\?\n/);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('on Ctrl-C says that a message on its way may have been sent', async () => {
    const { gateway, env } = await startGateway();
    gateway.nextSend({ fault: 'timeout', accepted: true });
    const running = new TerminalProcess(program.bin, ['send', '79270000001', 'Hi'], env);
    await gateway.waitForMessage();
    running.kill('SIGINT');
    expect(await running.ended).toBe(3);
    expect(running.stderr).toMatch(/while waiting for the answer\. The message may have been sent/);
  });
});

describe('send', () => {
  it('takes another sender, and tells programs all but the number', async () => {
    const { gateway, env } = await startGateway();
    const { code, stdout } = await runHere(['send', '+79270000001', 'Hi', '--shortcode', 'BANK', '--json'], env);
    const [{ uid }] = gateway.messages as [(typeof gateway.messages)[number]];
    expect(json(stdout)).toEqual({
      outcome: 'sent',
      uid,
      msisdn: '7927*****01',
      shortcode: 'BANK',
      segments: 1,
      attempts: 1,
      requestId: expect.any(String),
    });
    expect(code).toBe(0);
  });

  it.each([
    ['79990000011', 1, 'rejected', 'RT_SMS_REJECTED'],
    ['79990000019', 1, 'rejected', 'RT_SMS_AUTH'],
    ['79990000023', 3, 'unknown', 'RT_SMS_UNEXPECTED_RESPONSE'],
    ['79990000021', 3, 'unknown', 'RT_SMS_TIMEOUT'],
    ['7999', 2, 'not_sent', 'RT_SMS_VALIDATION'],
  ])('to %s ends with %d', async (msisdn, code, outcome, error) => {
    const { env } = await startGateway();
    // Only where nothing else ends it; and so much that a message has left before.
    const limited = error === 'RT_SMS_TIMEOUT' ? { ...env, RT_SMS_SEND_TIMEOUT_MS: '1500' } : env;
    const ended = await runHere(['send', msisdn, 'Hi', '--json'], limited);
    expect(json(ended.stdout)).toMatchObject({ outcome, error: { code: error, message: expect.any(String) } });
    expect(ended.code).toBe(code);
    const forPeople = await runHere(['send', msisdn, 'Hi'], limited);
    expect(forPeople).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(/^[A-Z].*\n$/) });
  });

  it('to a closed port ends with 1: nothing was sent', async () => {
    const env = environment(`http://${await closedPort()}/`);
    const { code, stderr } = await runHere(['send', '79270000001', 'Hi'], env);
    expect(stderr).toMatch(/^Nothing was sent: no connection to 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
    expect(code).toBe(1);
  });
});

describe('status', () => {
  it.each([
    ['delivered', 0, /^delivered, segments 1, 20\d\d-/],
    ['awaiting_report', 0, /^awaiting_report, not final, /],
    ['failed', 1, /^failed, /],
    ['rejected', 1, /^rejected, error 11, /],
    ['lost in space', 3, /^unknown, the gateway says lost in space, not final, /],
  ])('%s ends with %d', async (status, code, says) => {
    const { gateway, env } = await startGateway();
    await runHere(['send', '79270000001', 'Hi'], env);
    const { uid } = gateway.messages[0]!;
    await gateway.report(uid, status, status === 'rejected' ? { err: '11' } : {});
    // Without the prefix, too.
    const ended = await runHere(['status', uid.replace('message-id-', '')], env);
    expect(ended).toMatchObject({ code, stdout: expect.stringMatching(says), stderr: '' });
  });

  it('that nobody knows ends with 1, that cannot be asked for with 3, of what is no uid with 2', async () => {
    const { env } = await startGateway();
    await expect(runHere(['status', 'message-id-1'], env)).resolves.toMatchObject({ code: 1 });
    await expect(runHere(['status', 'a/b'], env)).resolves.toMatchObject({ code: 2 });
    const dead = environment(`http://${await closedPort()}/`);
    await expect(runHere(['status', 'message-id-1'], dead)).resolves.toMatchObject({ code: 3 });
  });
});

describe('the account', () => {
  it('is asked for by the names of its variables, all at once', async () => {
    const { code, stderr } = await runHere(['send', '79270000001', 'Hi'], {
      RT_SMS_PASSWORD: PASSWORD,
      RT_SMS_SEND_TIMEOUT_MS: 'soon',
      RT_SMS_RATE_PER_SECOND: '0',
      RT_SMS_CALLBACK_ALLOW_FROM: 'me',
    });
    for (const name of ['LOGIN', 'SEND_TIMEOUT_MS', 'RATE_PER_SECOND', 'CALLBACK_ALLOW_FROM'])
      expect(stderr).toMatch(new RegExp(`^ {2}RT_SMS_${name}: `, 'm'));
    expect(code).toBe(2);
  });

  it('may be a named one', async () => {
    const { gateway, env } = await startGateway();
    const named = Object.entries(env).map(([name, value]) => [name.replace('RT_SMS_', 'RT_SMS_OTP_RU_'), value]);
    const args = ['send', '79270000001', 'Hi', '--account', 'otp-ru'];
    await expect(runHere(args)).resolves.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('  RT_SMS_OTP_RU_LOGIN: is missing'),
    });
    expect(await runHere(args, Object.fromEntries(named))).toMatchObject({ code: 0, stderr: '' });
    expect(gateway.messages).toHaveLength(1);
  });
});

it('makes a secret, and the address for the cabinet', async () => {
  const { code, stdout } = await runHere(['secret', '--url', 'https://shop.example/api/sms/', '--json']);
  const { secret, url } = json(stdout) as { secret: string; url: string };
  expect(secret).toMatch(/^[\w-]{32}$/);
  expect(url).toBe(`https://shop.example/api/sms/${secret}`);
  expect(code).toBe(0);
  const other = await runHere(['secret']);
  expect(other.stdout).toMatch(
    / RT_SMS_CALLBACK_SECRETS=([\w-]{32})\n.* https:\/\/your-host\/rt-sms\/callback\/\1\n$/i,
  );
  expect(other.stdout).not.toContain(secret);
  const named = await runHere(['secret', '--account', 'otp', '--url', 'https://shop.example:8443']);
  expect(named.stdout).toMatch(
    / RT_SMS_OTP_CALLBACK_SECRETS=.*\n.* https:\/\/shop\.example:8443\/rt-sms\/otp\/callback\//,
  );
  for (const wrong of ['shop.example', 'https://', 'https://a?b'])
    await expect(runHere(['secret', '--url', wrong])).resolves.toMatchObject({ code: 2 });
});

it('helps', async () => {
  for (const args of [['--help'], ['bulk', '--help'], ['nonsense', '--help']])
    await expect(runHere(args)).resolves.toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Usage: nestjs-rt-sms/),
    });
  expect(json((await runHere(['sned', '--json'])).stdout)).toMatchObject({
    error: { code: 'USAGE', message: expect.stringContaining('maybe send?') },
  });
});
