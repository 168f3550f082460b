import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { eventually, freePort, stop } from '../durable/services.js';
import { atEnd } from '../platforms.js';
import { describeWith, findProgram, onPath, required } from '../programs.js';
import { pageOfSuite } from './page.js';

const SECRET = 'q7Wc2Zt9LxV4bN8mR1sKfD5gHj3yPaEu';
const UID = 'message-id-VvkmLHkfhCX9';
const PROVIDER = '127.0.0.2';
const STRANGER = '127.0.0.3';
const certs = resolve(import.meta.dirname, '../faults/certs');
const nginx = () => findProgram(() => onPath('nginx'), 'nginx-light');

describeWith({ nginx }, 'the recipe for %s', () => {
  const page = pageOfSuite('docs/recipes/nginx.md');

  /** Starts nginx with the configuration of the page, changed only in its paths and ports. */
  async function startNginx(appPort: number, change: (text: string) => string = (text) => text) {
    const folder = mkdtempSync(join(tmpdir(), 'rt-sms-nginx-'));
    const port = await freePort();
    const [access, errors] = [join(folder, 'access.log'), join(folder, 'error.log')];
    const replaced: [string, string][] = [
      ['listen 443 ssl', `listen 127.0.0.1:${port} ssl`],
      ['/etc/ssl/shop.pem', join(certs, 'localhost.pem')],
      ['/etc/ssl/shop.key', join(certs, 'server.key')],
      ['/var/log/nginx/shop.log', access],
      ['/var/log/nginx/shop-error.log', errors],
      ['127.0.0.1:3000', `127.0.0.1:${appPort}`],
    ];
    let text = change(page.text('shop.conf'));
    for (const [from, to] of replaced) {
      expect(text).toContain(from);
      text = text.replaceAll(from, to);
    }
    const main = `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/main.log;
      events {} http { ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
      include ${folder}/shop.conf; }`;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'shop.conf'), text);
    writeFileSync(join(folder, 'nginx.conf'), main);
    const child = spawn(required(nginx()), ['-c', join(folder, 'nginx.conf'), '-e', join(folder, 'main.log')], {
      stdio: 'ignore',
    });
    atEnd(async () => {
      await stop(child, 'SIGTERM');
      rmSync(folder, { recursive: true });
    });
    /** Status of a GET through nginx, from an address of this machine. */
    const get = (path: string, from = PROVIDER, headers: Record<string, string> = {}) =>
      new Promise<number>((done, fail) => {
        const options = { port, path, headers, host: '127.0.0.1', localAddress: from, agent: false };
        request({ ...options, rejectUnauthorized: false }, (answer) => {
          answer.resume().once('end', () => done(answer.statusCode!));
        })
          .once('error', fail)
          .end();
      });
    await eventually(() => get('/'));
    return { get, logs: () => [access, errors].map((file) => readFileSync(file, 'utf8')).join('') };
  }

  async function startApp() {
    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const { login, password, url } = gateway.options;
    const port = await freePort();
    const child = page.run('src/main.ts', {
      PORT: String(port),
      RT_SMS_LOGIN: login,
      RT_SMS_PASSWORD: password,
      RT_SMS_URL: url,
      RT_SMS_CALLBACK_SECRETS: SECRET,
      RT_SMS_CALLBACK_ALLOW_FROM: PROVIDER,
    });
    atEnd(() => stop(child, 'SIGKILL'));
    child.stdout!.resume();
    child.stderr!.resume();
    await eventually(() => fetch(`http://127.0.0.1:${port}/`));
    return { port, child };
  }

  const callback = (status: string) => `/rt-sms/callback/${SECRET}?id=${UID}&status=${status}&parts=1`;

  it('keeps the secret out of both logs, also while the application is down, and passes the address on', async () => {
    const { port, child } = await startApp();
    const { get, logs } = await startNginx(port);
    await expect(get(callback('delivered'))).resolves.toBe(200);
    await expect(get(callback('delivered'), STRANGER)).resolves.toBe(404);
    // A client cannot claim the address of another one.
    await expect(get(callback('delivered'), STRANGER, { 'X-Forwarded-For': PROVIDER })).resolves.toBe(404);
    await expect(get('/orders?page=2')).resolves.toBe(404);

    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
    await expect(get(callback('failed'))).resolves.toBe(502);
    await expect(get('/orders?page=3')).resolves.toBe(502);

    await eventually(async () => /page=3.* 502 [^]*upstream/.test(logs()));
    expect(logs()).toMatch(/^127\.0\.0\.2 \[.*\] "GET \/rt-sms\/callback\/\*\*\*" 200 /m);
    expect(logs()).toMatch(/^127\.0\.0\.3 \[.*\] "GET \/rt-sms\/callback\/\*\*\*" 404 /m);
    expect(logs()).toContain('/orders?page=2');
    expect(logs()).not.toContain(SECRET);
    expect(logs()).not.toContain(UID);
  }, 120_000);

  // Shows that the test above can fail.
  it.each([
    ['the access log', (text: string) => text.replace('$request_method $logged_path', '$request')],
    ['the error log', (text: string) => text.replace('error_log /dev/null crit;', '')],
  ])(
    'without its line for %s the secret is there',
    async (_, change) => {
      const { get, logs } = await startNginx(await freePort(), change);
      await expect(get(callback('delivered'))).resolves.toBe(502);
      await eventually(async () => logs().includes(SECRET));
    },
    120_000,
  );
});
