import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { HttpService } from '@nestjs/axios';
import { Module, type LoggerService } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import {
  getRtSmsHttpToken,
  RtSmsAuthError,
  RtSmsConfigError,
  RtSmsModule,
  rtSmsConfig,
  RtSmsService,
  type RtSmsOptions,
} from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd } from './platforms.js';

const [FIRST, SECOND] = ['Erste-Losung-7', 'Zweite-Parole-8'];
const SMS = { msisdn: '79270000001', text: 'Your code' };

const environment = { ...process.env };
afterEach(() => {
  process.env = { ...environment };
});

async function gatewayOf(): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, password: FIRST });
  atEnd(() => gateway.close());
  return gateway;
}

/** A source of the password that counts its reads. */
function sourceOf(value: unknown = FIRST) {
  const source = {
    value,
    reads: 0,
    password: () => {
      source.reads++;
      if (source.value instanceof Error) throw source.value;
      return source.value as string;
    },
  };
  return source;
}

/** Starts an application. `lines` has what it logs, `heard` resolves with the first event of this name. */
async function run(
  gateway: RtSmsSimulator,
  options: Partial<RtSmsOptions>,
  account = RtSmsModule.forRoot.bind(RtSmsModule),
) {
  const lines: string[] = [];
  const write = (...parts: unknown[]) => void lines.push(parts.map((part) => inspect(part)).join(' '));
  const logger: LoggerService = { log: write, warn: write, error: write };
  const { login, url } = gateway.options;
  @Module({
    imports: [
      EventEmitterModule.forRoot(),
      account({ login, url, shortcode: 'SHOP', password: FIRST, callbackPath: false, ...options }),
    ],
  })
  class AppModule {}
  const app = await NestFactory.createApplicationContext(AppModule, { logger, abortOnError: false });
  atEnd(() => app.close());
  const emitter = app.get(EventEmitter2);
  const heard = (name: string) => new Promise<{ id: string }>((resolve) => emitter.once(`rt-sms.${name}`, resolve));
  return { app, sms: app.get(RtSmsService), lines, heard };
}

const logged = (lines: string[], part: string) => lines.filter((line) => line.includes(part)).length;

describe('a password that changes', () => {
  it.each(['header', 'body', 'both'] as const)(
    'is read again, and the rejected request is made once more (credentials: %s)',
    async (credentials) => {
      const gateway = await gatewayOf();
      const source = sourceOf();
      const { sms, lines } = await run(gateway, {
        password: source.password,
        credentials,
        retry: { send: 0, status: 0 },
      });
      const { uid, attempts } = await sms.send(SMS);
      expect(attempts).toBe(1);
      source.value = SECOND;
      gateway.changePassword(SECOND);
      await expect(sms.send(SMS)).resolves.toMatchObject({ attempts: 2 });
      expect(source.reads).toBe(2);
      source.value = FIRST;
      gateway.changePassword(FIRST);
      // The last read has helped, so this one does not wait for 5 s.
      await expect(sms.getStatus(uid)).resolves.toMatchObject({ uid });
      expect({ reads: source.reads, messages: gateway.messages.length }).toEqual({ reads: 3, messages: 2 });
      expect(logged(lines, 'The password has changed')).toBe(2);
      expect(logged(lines, 'paused')).toBe(0);
    },
  );

  it('is read once for all requests that the gateway has rejected, and each message is sent once', async () => {
    const gateway = await gatewayOf();
    const source = sourceOf();
    const { sms, lines } = await run(gateway, { password: source.password });
    source.value = SECOND;
    gateway.changePassword(SECOND);
    const numbers = Array.from({ length: 60 }, (_, n) => String(79_270_000_000 + n));
    const results = [];
    const messages = numbers.map((msisdn) => ({ ...SMS, msisdn }));
    for await (const { ok } of sms.sendMany(messages, { concurrency: 20 })) results.push(ok);
    expect(results).toEqual(numbers.map(() => true));
    expect(gateway.messages.map(({ msisdn }) => msisdn).toSorted()).toEqual(numbers);
    // Those in flight at the change were rejected; no other request was made with the former password.
    expect(gateway.requests.post).toBeLessThanOrEqual(60 + 20);
    expect(source.reads).toBe(2);
    expect(logged(lines, 'paused')).toBe(0);
  });

  it('no other request is made with the former one while the source is read', async () => {
    const gateway = await gatewayOf();
    const source = sourceOf();
    const { app, sms } = await run(gateway, { password: source.password });
    source.value = SECOND;
    gateway.changePassword(SECOND);
    const { interceptors } = app.get<HttpService>(getRtSmsHttpToken()).axiosRef;
    const rejected = new Promise<void>((resolve) => {
      interceptors.response.use((response) => {
        setImmediate(resolve);
        return response;
      });
    });
    const first = sms.send(SMS);
    await rejected;
    await expect(sms.send(SMS)).resolves.toMatchObject({ attempts: 1 });
    await expect(first).resolves.toMatchObject({ attempts: 2 });
    expect(gateway.requests.post).toBe(3);
  });

  it('of a source that still has the former one: messages wait, and leave when the source has the new one', async () => {
    const gateway = await gatewayOf();
    const source = sourceOf();
    const { sms, lines, heard } = await run(gateway, { password: source.password });
    gateway.changePassword(SECOND);
    const error: unknown = await sms.send(SMS).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RtSmsAuthError);
    expect((error as RtSmsAuthError).outcome).toBe('rejected');
    expect(logged(lines, 'Queue and polling are paused')).toBe(1);
    // At most one read in 5 s, however many requests fail.
    for (let n = 0; n < 5; n++) await expect(sms.send(SMS)).rejects.toThrow(RtSmsAuthError);
    expect(source.reads).toBe(2);
    const requests = gateway.requests.post;
    const accepted = heard('accepted');
    const refused = heard('refused');
    await sms.enqueue(SMS, { id: 'waits' });
    source.value = SECOND;
    await expect(Promise.race([accepted, refused])).resolves.toMatchObject({ id: 'waits', uid: expect.any(String) });
    expect(logged(lines, 'Gateway access restored')).toBe(1);
    // The message was posted once, with the new password. A probe that is due at the moment of the read may come before it.
    expect(gateway.requests.post).toBe(requests + 1);
    expect(gateway.requests.get).toBeGreaterThanOrEqual(1);
    expect(gateway.requests.get).toBeLessThanOrEqual(3);
  });

  it('a constant one is rejected (control): one request, and the queue pauses', async () => {
    const gateway = await gatewayOf();
    const { sms, lines } = await run(gateway, { password: FIRST });
    gateway.changePassword(SECOND);
    await expect(sms.send(SMS)).rejects.toMatchObject({ code: 'RT_SMS_AUTH', attempts: 1 });
    expect(gateway.requests.post).toBe(1);
    expect(logged(lines, 'Queue and polling are paused')).toBe(1);
  });

  it('a source with another wrong password costs one more request, not a loop', async () => {
    const gateway = await gatewayOf();
    let reads = 0;
    const { sms } = await run(gateway, { password: () => (reads++ === 0 ? FIRST : `${SECOND}-${reads}`) });
    gateway.changePassword('Dritte-9');
    await expect(sms.send(SMS)).rejects.toMatchObject({ code: 'RT_SMS_AUTH', attempts: 2 });
    expect({ reads, ...gateway.requests }).toEqual({ reads: 2, post: 2, get: 0 });
  });

  it('the request with the new password leaves all retries to the message', async () => {
    const gateway = await gatewayOf();
    const source = sourceOf();
    const { sms } = await run(gateway, { password: source.password, retry: { send: 1 } });
    gateway.changePassword(SECOND);
    source.value = SECOND;
    gateway.nextSend('wrong_credentials');
    gateway.nextSend('system_error');
    await expect(sms.send(SMS)).resolves.toMatchObject({ attempts: 3 });
    gateway.nextSend('system_error', 2);
    await expect(sms.send(SMS)).rejects.toMatchObject({ attempts: 2 });
  });

  it.each(['wrong_ip', 'system_error'] as const)('is not read again on %s', async (reason) => {
    const gateway = await gatewayOf();
    const source = sourceOf();
    const { sms } = await run(gateway, { password: source.password, retry: { send: 0 } });
    gateway.nextSend(reason);
    await expect(sms.send(SMS)).rejects.toMatchObject({ reason });
    expect(source.reads).toBe(1);
  });

  it('ends with the deadline of the call while the source does not answer; nothing was sent', async () => {
    const gateway = await gatewayOf();
    let reads = 0;
    const { sms } = await run(gateway, {
      password: () => (reads++ === 0 ? FIRST : new Promise<string>(() => undefined)),
      timeouts: { sendMs: 1_000 },
    });
    gateway.changePassword(SECOND);
    await expect(sms.send(SMS)).rejects.toMatchObject({ code: 'RT_SMS_TIMEOUT', outcome: 'not_sent', retryable: true });
    expect(gateway.messages).toEqual([]);
  });

  it.each([
    ['throws', Object.assign(new Error(`vault: ${SECOND}`), { code: 'ECONNREFUSED' }), 'threw Error ECONNREFUSED'],
    ['returns nothing', null, 'returned null'],
    ['returns an empty string', '', 'returned an empty string'],
    ['returns a line break', `${SECOND}\n`, 'ends in a line break (trim it)'],
    ['returns a control character', `\u0007${SECOND}`, 'a control character or an unpaired surrogate'],
    ['returns an object', { value: SECOND }, 'returned object'],
  ])('if the function %s: at the start an error, later a warning and the former password', async (_, value, part) => {
    const gateway = await gatewayOf();
    const failed: unknown = await run(gateway, { password: sourceOf(value).password }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(RtSmsConfigError);
    expect((failed as RtSmsConfigError).problems).toEqual([expect.stringMatching(/^password: the function /)]);
    expect((failed as Error).message).toContain(part);
    const source = sourceOf();
    const { sms, lines } = await run(gateway, { password: source.password });
    source.value = value;
    gateway.nextSend('wrong_credentials');
    const error: unknown = await sms.send(SMS).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ reason: 'wrong_credentials' });
    expect(lines.filter((line) => line.includes('former one stays in use') && line.includes(part))).toHaveLength(1);
    await expect(sms.send(SMS)).resolves.toMatchObject({ attempts: 1 });
    for (const shown of [inspect(failed, { depth: 9 }), inspect(error, { depth: 9 }), ...lines])
      expect(shown).not.toMatch(/Parole|Losung/);
  });

  it('former and current passwords are removed from the strings of the gateway', async () => {
    const gateway = await gatewayOf();
    const source = sourceOf();
    const { sms } = await run(gateway, { password: source.password });
    const reasonOf = async (reason: string) => {
      gateway.nextSend({ status: 200, body: JSON.stringify({ status: 'error', reason }) });
      const error: unknown = await sms.send(SMS).catch((thrown: unknown) => thrown);
      return (error as RtSmsAuthError).reason;
    };
    // Control: the password is not hidden before it was read.
    await expect(reasonOf('zweite_parole')).resolves.toBe('zweite_parole');
    source.value = SECOND;
    gateway.changePassword(SECOND);
    await sms.send(SMS);
    await expect(reasonOf('zweite_parole')).resolves.toBe('unrecognised');
    await expect(reasonOf('erste_losung')).resolves.toBe('unrecognised');
    await expect(reasonOf('another_word')).resolves.toBe('another_word');
  });
});

describe('RT_SMS_PASSWORD_FILE', () => {
  function fileOf(content: string | Uint8Array) {
    const folder = mkdtempSync(join(tmpdir(), 'rt-sms-password-'));
    atEnd(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'password');
    /** Replaces the file, as Kubernetes does. */
    const write = (next: string | Uint8Array) => {
      writeFileSync(`${path}.next`, next);
      renameSync(`${path}.next`, path);
    };
    write(content);
    return { path, write };
  }
  async function runWith(gateway: RtSmsSimulator, variables: Record<string, string>) {
    const { login, url } = gateway.options;
    Object.assign(process.env, { RT_SMS_LOGIN: login, RT_SMS_URL: url, RT_SMS_SHORTCODE: 'SHOP', ...variables });
    const account = RtSmsModule.forRootAsync({ ...rtSmsConfig.asProvider(), callbackPath: false });
    const imported = { ...account, imports: [...account.imports!, ConfigModule.forRoot({ ignoreEnvFile: true })] };
    return run(gateway, {}, () => imported);
  }

  it('is read at the start and after a change, without its last line break', async () => {
    const gateway = await gatewayOf();
    const { path, write } = fileOf(`${FIRST}\n`);
    const { sms } = await runWith(gateway, { RT_SMS_PASSWORD_FILE: path });
    await expect(sms.send(SMS)).resolves.toMatchObject({ attempts: 1 });
    write(`${SECOND}\r\n`);
    gateway.changePassword(SECOND);
    await expect(sms.send(SMS)).resolves.toMatchObject({ attempts: 2 });
  });

  it.each([
    ['is missing', undefined, /the file '.*password' cannot be read \(ENOENT\)/],
    ['is empty', '\n', /the file '.*password' is empty/],
    ['is binary', new Uint8Array([0xff, 0xfe, 0x41]), /the file '.*password' is not UTF-8 text/],
    ['has two lines', `${FIRST}\n${SECOND}\n`, /the file '.*password' returned a string with a control character/],
  ])('a file that %s stops the start, with the variable and without the value', async (_, content, problem) => {
    const { path } = fileOf(content ?? 'x');
    if (content === undefined) rmSync(path);
    const error: unknown = await runWith(await gatewayOf(), { RT_SMS_PASSWORD_FILE: path }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RtSmsConfigError);
    const { problems } = error as RtSmsConfigError;
    expect(problems).toEqual([expect.stringMatching(/^password: RT_SMS_PASSWORD_FILE: /)]);
    expect(problems[0]).toMatch(problem);
    expect(inspect(error)).not.toMatch(/Parole|Losung/);
  });

  it('does not show a value that is not a path: it may be the password itself', async () => {
    const error: unknown = await runWith(await gatewayOf(), { RT_SMS_PASSWORD_FILE: SECOND }).catch((e: unknown) => e);
    expect((error as RtSmsConfigError).problems).toEqual([
      'password: RT_SMS_PASSWORD_FILE: the file cannot be read (ENOENT)',
    ]);
  });

  it('next to RT_SMS_PASSWORD is an error', async () => {
    const variables = { RT_SMS_PASSWORD: FIRST, RT_SMS_PASSWORD_FILE: fileOf(FIRST).path };
    const error: unknown = await runWith(await gatewayOf(), variables).catch((e: unknown) => e);
    expect((error as RtSmsConfigError).problems).toEqual([
      'password: RT_SMS_PASSWORD and RT_SMS_PASSWORD_FILE are both set; unset one of them',
    ]);
  });
});
