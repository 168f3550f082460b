import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule } from 'nestjs-rt-sms';
import { atEnd, start } from '../platforms.js';
import {
  compileTerminal,
  environment,
  PASSWORD,
  runHere,
  runToEnd,
  SECRET,
  startGateway,
  temporary,
  type Ended,
} from './compiled.js';

jest.setTimeout(90_000);

const CERTIFICATES = join(import.meta.dirname, '../faults/certs');
const pem = (name: string) => readFileSync(join(CERTIFICATES, name));

interface Finding {
  result: string;
  text: string;
  fix?: string;
}
/** Findings by the name of the check. */
function findings({ stdout }: Ended): Record<string, Finding> {
  const { checks } = JSON.parse(stdout) as { checks: ({ check: string } & Finding)[] };
  return Object.fromEntries(checks.map(({ check, ...finding }) => [check, finding]));
}
async function examine(env: Record<string, string>, ...args: string[]) {
  const ended = await runHere(['doctor', '--json', ...args], env);
  return { code: ended.code, ...findings(ended) } as Record<string, Finding> & { code: unknown };
}

const NOT_FOUND: RequestListener = (_, response) => {
  response.setHeader('content-type', 'application/json');
  response.end('{"status":"error","reason":"transaction_not_found"}');
};
async function listening(server: ReturnType<typeof createHttpServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
async function gatewayOverTls(certificate: string): Promise<Record<string, string>> {
  const tls = { cert: pem(certificate), key: pem('server.key') };
  return environment(`https://localhost:${await listening(createHttpsServer(tls, NOT_FOUND))}/send`);
}

let program: Awaited<ReturnType<typeof compileTerminal>>;
beforeAll(async () => {
  program = await compileTerminal();
}, 120_000);
afterAll(() => program.remove());

describe('the gateway', () => {
  it('passes, as a process, over TLS', async () => {
    const env = { ...(await gatewayOverTls('localhost.pem')), NODE_EXTRA_CA_CERTS: join(CERTIFICATES, 'ca.pem') };
    const ended = await runToEnd(program.bin, ['doctor', '--json'], env);
    expect(findings(ended)).toMatchObject({
      configuration: { result: 'ok' },
      dns: { result: 'ok', text: expect.stringMatching(/127\.0\.0\.1|::1/) },
      tcp: { result: 'ok', text: expect.stringMatching(/^localhost:\d+$/) },
      tls: { result: 'ok', text: expect.stringMatching(/^the certificate is good for 3\d{4} more days$/) },
      credentials: { result: 'ok' },
      'IP list': { result: 'ok' },
      clock: { result: 'ok' },
      sender: { result: 'ok' },
      callback: { result: 'skipped' },
    });
    expect(ended.code).toBe(0);
  });

  it('passes with the CA of RT_SMS_TLS_CA, of the environment or of --env', async () => {
    const tls = { RT_SMS_TLS_CA: join(CERTIFICATES, 'ca.pem') };
    const env = await gatewayOverTls('localhost.pem');
    await expect(examine({ ...env, ...tls })).resolves.toMatchObject({ code: 0, tls: { result: 'ok' } });
    const { write } = await temporary();
    const file = await write('.env', `RT_SMS_TLS_CA='${tls.RT_SMS_TLS_CA}'\n`);
    const ended = await runToEnd(program.bin, ['doctor', '--json', '--env', file], env);
    expect([ended.code, findings(ended).tls]).toMatchObject([0, { result: 'ok' }]);
  });

  it('says which variable the CA goes into, and warns of one that has expired', async () => {
    const env = await gatewayOverTls('localhost.pem');
    await expect(examine(env)).resolves.toMatchObject({
      code: 1,
      tls: { result: 'failed', fix: expect.stringContaining('RT_SMS_TLS_CA') },
    });
    const bundle = pem('ca.pem').toString() + pem('expired-ca.pem').toString();
    await expect(examine({ ...env, RT_SMS_TLS_CA: bundle })).resolves.toMatchObject({
      code: 0,
      tls: { result: 'warning', text: expect.stringMatching(/'CN=Expired test CA' expired on 2020-01-02/) },
    });
  });

  it('is not trusted the more for NODE_TLS_REJECT_UNAUTHORIZED=0', async () => {
    const env = { ...(await gatewayOverTls('self-signed.pem')), NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    const ended = await runToEnd(program.bin, ['doctor', '--json'], env);
    expect(findings(ended).tls).toMatchObject({ result: 'failed' });
    expect(ended.code).toBe(1);
  });

  it.each([
    ['expired.pem', 'CERT_HAS_EXPIRED'],
    ['wrong-host.pem', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['self-signed.pem', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ])('with the certificate %s fails at TLS, without a request', async (certificate, code) => {
    const env = { ...(await gatewayOverTls(certificate)), NODE_EXTRA_CA_CERTS: join(CERTIFICATES, 'ca.pem') };
    const ended = await runToEnd(program.bin, ['doctor', '--json'], env);
    const found = findings(ended);
    expect(found.tls).toMatchObject({
      result: 'failed',
      text: expect.stringContaining(code),
      fix: expect.any(String),
    });
    expect(found).not.toHaveProperty('credentials');
    expect(found).toHaveProperty('sender');
    expect(ended.code).toBe(1);
  });

  it('that has no name, or no open port, fails there', async () => {
    const nameless = await examine(environment('https://gateway.invalid/send'));
    expect(nameless).toMatchObject({
      code: 1,
      dns: { result: 'failed', text: expect.stringMatching(/gateway\.invalid:443: E/) },
    });
    expect(nameless).not.toHaveProperty('tcp');
    const closed = await examine(environment('http://127.0.0.1:1/send'));
    expect(closed).toMatchObject({
      code: 1,
      dns: { result: 'ok' },
      tcp: { result: 'failed', text: '127.0.0.1:1: ECONNREFUSED' },
    });
  });

  it.each([
    ['a wrong password', { password: 'another' }, 'credentials', 'wrong_credentials', 'IP list'],
    ['an address that is not listed', { allowFrom: ['10.0.0.1'] }, 'IP list', 'wrong_ip', 'credentials'],
  ])('distinguishes %s from other problems', async (_, options, failed, reason, unseen) => {
    const { gateway, env } = await startGateway(options);
    const found = await examine(env);
    expect(found.code).toBe(1);
    expect(found[failed]).toMatchObject({ result: 'failed', text: expect.stringMatching(`${reason}\\. `) });
    expect(found[unseen]).toMatchObject({ result: 'skipped' });
    expect(found.clock).toMatchObject({ result: 'ok' });
    expect(gateway.requests).toEqual({ post: 0, get: 1 });
  });

  it('that rejects the password: the text explains how a .env file may have changed it', async () => {
    const { env } = await startGateway({ password: 'pa#ss' });
    const { write } = await temporary();
    const file = await write('.env', 'RT_SMS_PASSWORD=pa#ss\n');
    const { RT_SMS_PASSWORD: _, ...rest } = env;
    const changed = findings(await runToEnd(program.bin, ['doctor', '--json', '--env', file], rest));
    expect(changed.credentials).toMatchObject({
      result: 'failed',
      text: expect.stringMatching(/# or \$ .* single quotes/),
    });
    const quoted = await write('quoted.env', "RT_SMS_PASSWORD='pa#ss'\n");
    const asItIs = findings(await runToEnd(program.bin, ['doctor', '--json', '--env', quoted], rest));
    expect(asItIs.credentials).toMatchObject({ result: 'ok' });
  });

  it('a password with quotes that are part of it is a warning', async () => {
    const { env } = await startGateway({ password: "'hush'" });
    await expect(examine({ ...env, RT_SMS_PASSWORD: "'hush'" })).resolves.toMatchObject({
      code: 0,
      configuration: {
        result: 'warning',
        text: 'complete, but RT_SMS_PASSWORD is in quotes, which are part of the value',
      },
    });
  });

  it('a password in a file is read twice, and checked like one in a variable', async () => {
    const { env } = await startGateway();
    const { RT_SMS_PASSWORD: _, ...rest } = env;
    const { write } = await temporary();
    const right = await examine({ ...rest, RT_SMS_PASSWORD_FILE: await write('right', `${PASSWORD}\n`) });
    expect(right).toMatchObject({
      code: 0,
      configuration: { result: 'ok' },
      password: {
        result: 'ok',
        text: 'read from the file of RT_SMS_PASSWORD_FILE, and again when the gateway rejects it',
      },
      credentials: { result: 'ok' },
    });
    const quoted = await examine({ ...rest, RT_SMS_PASSWORD_FILE: await write('quoted', `'${PASSWORD}'`) });
    expect(quoted).toMatchObject({
      configuration: { result: 'warning', text: expect.stringContaining('RT_SMS_PASSWORD_FILE is in quotes') },
      credentials: { result: 'failed' },
    });
    const missing = await examine({ ...rest, RT_SMS_PASSWORD_FILE: '/no/such/file' });
    expect(missing).toMatchObject({
      code: 1,
      configuration: { text: expect.stringContaining("RT_SMS_PASSWORD_FILE: the file '/no/such/file' cannot be read") },
    });
  });

  it('without a usable answer has not accepted the credentials', async () => {
    const { gateway, env } = await startGateway();
    gateway.nextStatus({ status: 503 }, Infinity);
    const found = await examine(env);
    expect(found).toMatchObject({ code: 1, credentials: { result: 'failed', text: expect.stringContaining('503') } });
  });

  it.each([
    // The time of the answer's transport adds to one difference and is subtracted from the other.
    [-120, 'failed', /^(119|12\d) s ahead of that of the gateway$/],
    [90, 'failed', /^(8\d|90|91) s behind that of the gateway$/],
    [10, 'warning', /^(9|10|11) s behind that of the gateway$/],
    [1, 'ok', /^-?[0-2] s from/],
  ])('whose clock is off by %d s: %s', async (seconds, result, text) => {
    const port = await listening(
      createHttpServer((request, response) => {
        response.setHeader('date', new Date(Date.now() + seconds * 1_000).toUTCString());
        NOT_FOUND(request, response);
      }),
    );
    const found = await examine(environment(`http://127.0.0.1:${port}/send`));
    expect(found.clock).toMatchObject({ result, text: expect.stringMatching(text) });
    expect(found.code).toBe(result === 'failed' ? 1 : 0);
  });
});

it('names the variables that are missing', async () => {
  const { code, stdout } = await runHere(['doctor'], { RT_SMS_PASSWORD: PASSWORD });
  expect(stdout).toMatch(
    /^failed +configuration +The account:\n +RT_SMS_LOGIN: is missing;.*\n +Fix: set these variables/,
  );
  expect(code).toBe(1);
});

it('names the variable of the given account', async () => {
  const { env } = await startGateway();
  const { RT_SMS_SHORTCODE: _, ...rest } = env;
  const otp = Object.entries(rest).map(([name, value]) => [name.replace('RT_SMS_', 'RT_SMS_OTP_'), value]);
  await expect(examine(Object.fromEntries(otp), '--account', 'otp')).resolves.toMatchObject({
    sender: { result: 'warning', fix: 'set RT_SMS_OTP_SHORTCODE' },
  });
});

it.each([
  ['SHOP-24', 'ok'],
  ['ABCDEFGHIJKL', 'warning'],
  ['МАГАЗИН', 'warning'],
  ['A{B}', 'warning'],
  ['', 'warning'],
])('checks only the form of the sender %j: %s', async (name, result) => {
  const { env } = await startGateway();
  const found = await examine({ ...env, RT_SMS_SHORTCODE: name });
  expect(found).toMatchObject({ code: 0, sender: { result } });
});

describe('the send policy', () => {
  it('is shown by its rules; onlyTo is a warning with the variable to remove', async () => {
    const { env } = await startGateway();
    await expect(examine(env)).resolves.toMatchObject({
      policy: { result: 'skipped', text: 'no rule is set in the environment' },
    });
    const limits = { RT_SMS_COUNTRIES: 'RU,KZ', RT_SMS_MAX_SEGMENTS: '3', RT_SMS_SEGMENTS_PER_DAY: '5000' };
    const rules = 'countries: RU, KZ; maxSegments: 3; segmentsPerDay: 5000';
    await expect(examine({ ...env, ...limits })).resolves.toMatchObject({ policy: { result: 'ok', text: rules } });
    const staging = { ...limits, RT_SMS_ONLY_TO: '+79270000001, +7912' };
    const ended = await examine({ ...env, ...staging });
    expect(ended).toMatchObject({
      code: 0,
      policy: {
        result: 'warning',
        text: `onlyTo: all recipients are refused except 2 numbers or prefixes; ${rules}`,
        fix: 'remove RT_SMS_ONLY_TO in production',
      },
    });
    expect(JSON.stringify(ended)).not.toContain('927');
  });

  it('with limits that contradict each other, the configuration fails and names the variables', async () => {
    const { env } = await startGateway();
    const contradicting = { RT_SMS_MAX_SEGMENTS: '10', RT_SMS_SEGMENTS_PER_DAY: '5', RT_SMS_COUNTRIES: 'RU' };
    await expect(examine({ ...env, ...contradicting, RT_SMS_ONLY_TO: '+77012345678' })).resolves.toMatchObject({
      code: 1,
      configuration: { result: 'failed', text: expect.stringMatching(/RT_SMS_ONLY_TO.*KZ|RT_SMS_MAX_SEGMENTS/s) },
    });
  });
});

describe('the callback', () => {
  const OPTIONS = { login: 'shop', password: PASSWORD, shortcode: 'SHOP' };
  /** Starts an application with a gateway that counts its status requests. */
  async function application(secrets?: string) {
    const { gateway, env } = await startGateway();
    const { url } = await start('express', {
      imports: [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({ ...OPTIONS, url: gateway.url, callback: secrets === undefined ? {} : { secrets } }),
      ],
    });
    return { gateway, env, url: `${url}/rt-sms/callback` };
  }
  const callbackOf = async (env: Record<string, string>, url: string) =>
    (await examine(env, '--callback-url', url)).callback;

  it('that accepts the secret and no other passes, and nothing changes in the application', async () => {
    const { gateway, env, url } = await application(SECRET);
    const known = { ...env, RT_SMS_CALLBACK_SECRETS: SECRET };
    // Also with the secret at its end, as in the cabinet.
    for (const given of [url, `${url}/`, `${url}/${SECRET}`])
      await expect(callbackOf(known, given)).resolves.toMatchObject({
        result: 'warning',
        text: expect.stringMatching(/^it answers, but without encryption/),
      });
    expect(gateway.requests.get).toBe(3);
  });

  it('with another secret, or without one, is distinguished', async () => {
    const { env, url } = await application(SECRET);
    const other = { ...env, RT_SMS_CALLBACK_SECRETS: 'another-secret-of-sixteen' };
    await expect(callbackOf(other, url)).resolves.toMatchObject({
      result: 'failed',
      text: '404 for the right secret, not 200',
    });
    const { env: bare, url: open } = await application();
    await expect(callbackOf(bare, open)).resolves.toMatchObject({
      result: 'warning',
      text: expect.stringMatching(/without a secret/),
    });
  });

  it.each([
    [200, '200 for a wrong secret, not 404', /accepts any secret/],
    [401, '401 for a wrong secret, not 404', /guards and proxies/],
    [302, '302 for a wrong secret, not 404', /guards and proxies/],
  ])('behind something that answers %d fails', async (status, text, fix) => {
    const { env } = await startGateway();
    const port = await listening(
      createHttpServer((_, response) => response.writeHead(status, { location: 'https://elsewhere.invalid/' }).end()),
    );
    const found = await callbackOf({ ...env, RT_SMS_CALLBACK_SECRETS: SECRET }, `http://127.0.0.1:${port}/callback`);
    expect(found).toMatchObject({ result: 'failed', text, fix: expect.stringMatching(fix) });
  });

  it('over TLS that accepts the secret and no other is ok', async () => {
    const env = { ...(await gatewayOverTls('localhost.pem')), NODE_EXTRA_CA_CERTS: join(CERTIFICATES, 'ca.pem') };
    const tls = { cert: pem('localhost.pem'), key: pem('server.key') };
    const asked: string[] = [];
    const port = await listening(
      createHttpsServer(tls, ({ url = '' }, response) => {
        asked.push(url);
        response.writeHead(url.startsWith(`/callback/${SECRET}?`) ? 200 : 404).end();
      }),
    );
    const args = ['doctor', '--json', '--callback-url', `https://localhost:${port}/callback`];
    const ended = await runToEnd(program.bin, args, { ...env, RT_SMS_CALLBACK_SECRETS: SECRET });
    expect(findings(ended).callback).toMatchObject({ result: 'ok' });
    expect(ended.code).toBe(0);
    expect(asked).toHaveLength(2);
  });

  it('without a server fails', async () => {
    const { env } = await startGateway();
    const dead = await callbackOf(env, 'http://127.0.0.1:65535/x');
    expect(dead).toMatchObject({ result: 'failed', text: 'http://127.0.0.1:65535: ECONNREFUSED' });
    await expect(callbackOf(env, 'nonsense')).resolves.toMatchObject({ result: 'failed' });
  });
});
