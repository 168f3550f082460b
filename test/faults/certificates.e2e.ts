import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { RtSmsError } from 'nestjs-rt-sms';
import { atEnd } from '../platforms.js';
import { failureOf, LOGIN, msisdnOf, PASSWORD, startAccount, startFault, TEXT } from './account.js';
import { ConnectProxy } from './connect-proxy.js';
import { CERTIFICATES, type FaultName } from './fault-server.js';

jest.setTimeout(90_000);

const MESSAGE = { msisdn: msisdnOf(1), text: TEXT };
const CERTS = join(import.meta.dirname, 'certs');
const path = (file: string) => join(CERTS, file);
const run = promisify(execFile);

/** Sends one message from a separate process with these environment variables. */
async function sendFrom(env: Record<string, string>, options: object, ...how: string[]) {
  const args = ['--import', './test/child/ts.mjs', './test/child/send-once.ts', JSON.stringify(options), ...how];
  const { NODE_EXTRA_CA_CERTS: _, ...inherited } = process.env;
  const { stdout } = await run(process.execPath, args, { env: { ...inherited, ...env } });
  return JSON.parse(stdout) as Partial<RtSmsError & { uid: string; statusCode: number }>;
}
const account = (url: string, more: object = {}) => ({
  login: LOGIN,
  password: PASSWORD,
  shortcode: 'SHOP',
  url,
  ...more,
});

describe('an error of a certificate says what to do', () => {
  it.each<[FaultName, RegExp, RegExp?]>([
    ['self-signed', /self-signed certificate\. Fix: if this server is your own, add its certificate to tls\.ca/],
    ['wrong-host', /check the address, because the certificate belongs to another host; tls\.ca does not help/],
    [
      'expired',
      /check the clock of this machine; if it is right, the owner of the certificate has to renew it, and tls\.ca does not help/,
    ],
  ])('%s', async (name, advice) => {
    const { sms } = await startAccount(await startFault(name));
    const error = (await failureOf(sms.send(MESSAGE))) as RtSmsError;
    expect(error).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent', retryable: false, attempts: 1 });
    expect(error.message).toMatch(advice);
  });

  it('an unknown CA', async () => {
    const { url } = await startFault('healthy', { tls: true });
    const { sms } = await startAccount({ url });
    const error = (await failureOf(sms.send(MESSAGE))) as RtSmsError;
    expect(error).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent', retryable: false, attempts: 1 });
    expect(error.message).toMatch(
      /add the root certificate of the CA, .* to tls\.ca \(RT_SMS_TLS_CA\), because this CA is not trusted here/,
    );
  });
});

describe('tls', () => {
  it.each([
    ['PEM text', CERTIFICATES.ca],
    ['a path', path('ca.pem')],
    [String.raw`PEM with a literal \n`, CERTIFICATES.ca.replaceAll('\n', String.raw`\n`)],
    ['a list', [path('self-signed.pem'), Buffer.from(CERTIFICATES.ca)]],
  ])('ca as %s', async (_, ca) => {
    const { url } = await startFault('healthy', { tls: true });
    const { sms } = await startAccount({ url }, { tls: { ca } });
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
  });

  it('shows the client certificate, of files and with a passphrase', async () => {
    const server = await startFault('client-certificate-missing');
    const tls = { ca: server.ca, cert: path('client.pem'), key: path('client-encrypted.key'), passphrase: 'sesame' };
    const { sms } = await startAccount(server, { tls });
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
  });

  it('reads its files once: one that goes away later is no hindrance', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rt-sms-'));
    copyFileSync(path('ca.pem'), join(folder, 'ca.pem'));
    const { url } = await startFault('healthy', { tls: true });
    const { sms } = await startAccount({ url }, { tls: { ca: join(folder, 'ca.pem') } });
    rmSync(folder, { recursive: true });
    await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
  });

  it('warns at the start of a CA that has expired', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockReturnValue(undefined);
    atEnd(() => warn.mockRestore());
    const { url } = await startFault('healthy', { tls: true });
    await startAccount({ url }, { tls: { ca: [path('expired-ca.pem'), CERTIFICATES.ca] } });
    expect(warn.mock.calls.flat()).toEqual(["tls.ca: the certificate 'CN=Expired test CA' expired on 2020-01-02"]);
  });

  it('ca is added to what the environment trusts, and caOnly leaves that out', async () => {
    // The self-signed certificate stands for a CA of NODE_EXTRA_CA_CERTS.
    const server = await startFault('self-signed');
    const env = { NODE_EXTRA_CA_CERTS: path('self-signed.pem') };
    const ca = path('ca.pem');
    await expect(sendFrom(env, account(server.url))).resolves.toHaveProperty('uid');
    await expect(sendFrom(env, account(server.url, { tls: { ca } }))).resolves.toHaveProperty('uid');
    const refused = await sendFrom(env, account(server.url, { tls: { ca, caOnly: true } }));
    expect(refused).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent' });
    expect(server.postsRead).toBe(2);
  });
});

describe('NODE_TLS_REJECT_UNAUTHORIZED=0', () => {
  const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0' };

  it('lets nothing reach a stranger', async () => {
    const server = await startFault('self-signed', { record: true });
    const refused = await sendFrom(env, account(server.url));
    expect(refused).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent' });
    expect(server.requests).toEqual([]);
    // Negative control: Node alone would send the request.
    expect(await sendFrom(env, account(server.url), 'plainly')).toMatchObject({ statusCode: 200 });
    expect(server.requests).toHaveLength(1);
    expect(await sendFrom({}, account(server.url), 'plainly')).toMatchObject({
      message: expect.stringMatching(/self/),
    });
  });

  it('nor a stranger in place of an https proxy', async () => {
    const proxy = await ConnectProxy.start({ certificate: 'self-signed' });
    atEnd(() => proxy.close());
    const server = await startFault('healthy', { tls: true });
    const options = account(server.url, { proxy: proxy.url, tls: { ca: path('ca.pem') } });
    const refused = await sendFrom(env, options);
    expect(refused).toMatchObject({ name: 'RtSmsConnectionError', outcome: 'not_sent' });
    expect(refused.message).toMatch(/TLS with the proxy failed: .*self-signed/);
    expect(proxy.heads).toEqual([]);
  });
});

it.each([
  ['https', true],
  ['http', false],
])('an https proxy with a certificate of tls.ca carries %s', async (_, tls) => {
  const proxy = await ConnectProxy.start({ certificate: 'localhost', credentials: 'user:p@ss' });
  atEnd(() => proxy.close());
  const server = await startFault('healthy', { tls });
  const address = proxy.url.replace('://', '://user:p%40ss@').replace('127.0.0.1', 'localhost');
  const { sms } = await startAccount(server, { proxy: address });
  await expect(sms.send(MESSAGE)).resolves.toMatchObject({ attempts: 1 });
  expect(proxy.heads).toHaveLength(1);
});

it('is asked by name, and its certificate has to be for that name', async () => {
  const cert = readFileSync(path('wrong-host.pem'));
  const names: string[] = [];
  const server = createServer({
    cert,
    key: readFileSync(path('server.key')),
    SNICallback: (name, done) => {
      names.push(name);
      done(null);
    },
  });
  atEnd(() => new Promise((closed) => server.close(closed)));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const { sms } = await startAccount({ url: `https://localhost:${port}/`, ca: CERTIFICATES.ca });
  const error = (await failureOf(sms.send(MESSAGE))) as RtSmsError;
  expect(error.message).toContain('the certificate belongs to another host');
  expect(names).toEqual(['localhost']);
});
