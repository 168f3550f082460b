// The recipes that need a store: a worker without HTTP, Kubernetes, forwarding of statuses.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Type } from '@nestjs/common';
import { jest } from '@jest/globals';
import { Deployment } from 'kubernetes-models/apps/v1';
import { Service } from 'kubernetes-models/v1';
import { parseAllDocuments } from 'yaml';
import { callback, gatewayOf, run } from '../durable/account.js';
import { SECRET } from '../durable/replica.js';
import { eventually, freePort, redisServer, stop, storeOfSuite } from '../durable/services.js';
import { atEnd } from '../platforms.js';
import { describeWith } from '../programs.js';
import { pageOfSuite, type Page } from './page.js';

jest.setTimeout(90_000);

const TO = '79270000001';

interface Process {
  child: ChildProcess;
  /** Everything that it has printed. */
  output(): string;
  /** Resolves when the output matches; rejects when the process ends before. */
  printed(pattern: RegExp): Promise<void>;
}

/** Starts one file of a page. */
function startFile(page: Page, file: string, env: NodeJS.ProcessEnv): Process {
  const child = page.run(file, env);
  atEnd(() => stop(child, 'SIGKILL'));
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => (output += String(chunk)));
  const printed = async (pattern: RegExp) => {
    while (!pattern.test(output)) {
      const more = await Promise.race([
        once(child.stdout!, 'data').then(() => true),
        once(child.stderr!, 'data').then(() => true),
        once(child, 'exit').then(() => false),
      ]);
      if (!more && !pattern.test(output)) throw new Error(`It ended early: ${output}`);
    }
  };
  return { child, output: () => output, printed };
}

type Gateway = Awaited<ReturnType<typeof gatewayOf>>;

describeWith({ Redis: redisServer }, 'recipes on %s', () => {
  const store = storeOfSuite('Redis');
  beforeEach(() => store.clear());
  const environment = ({ options: { login, password, url } }: Gateway) => ({
    RT_SMS_LOGIN: login,
    RT_SMS_PASSWORD: password,
    RT_SMS_URL: url,
    RT_SMS_SHORTCODE: 'SHOP',
    RT_SMS_CALLBACK_SECRETS: SECRET,
    REDIS_URL: (store.options as { connection: string }).connection,
  });

  describe('a worker without HTTP', () => {
    const page = pageOfSuite('docs/recipes/worker.md');

    it('sends what another process enqueued, and runs the listeners of callbacks that arrived there', async () => {
      const gateway = await gatewayOf();
      const api = await run(gateway, store.options, { engine: { role: 'producer' } });
      const { child, printed } = startFile(page, 'src/worker.ts', environment(gateway));
      await api.sms.enqueue({ msisdn: TO, text: 'Заказ собран', ref: 'order 42' }, { id: 'a' });
      const { uid } = await gateway.waitForMessage();
      await expect(callback(api.url, uid, 'delivered')).resolves.toBe(200);
      await printed(/order 42: delivered/);

      // What has left at the end finishes.
      gateway.nextSend({ delayMs: 1_500 });
      await api.sms.enqueue({ msisdn: TO, text: 'Заказ в пути' }, { id: 'b' });
      await gateway.waitForMessage(({ text }) => text === 'Заказ в пути');
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await expect(ended).resolves.toEqual([null, 'SIGTERM']);
      await expect(api.sms.find('b')).resolves.toMatchObject({ state: 'accepted' });
      expect(gateway.requests.post).toBe(2);
    });
  });

  describe('Kubernetes', () => {
    const page = pageOfSuite('docs/recipes/kubernetes.md');
    const [api, worker, service] = parseAllDocuments(page.text('shop.yaml')).map(
      (document) => document.toJS() as Record<string, never>,
    );
    const podOf = (deployment: unknown) => new Deployment(deployment as object).spec!.template.spec!;
    const containerOf = (deployment: unknown) => podOf(deployment).containers[0]!;
    /** Seconds that a process has after SIGTERM until it gets SIGKILL. */
    const graceOf = (deployment: unknown) =>
      podOf(deployment).terminationGracePeriodSeconds! -
      (containerOf(deployment).lifecycle?.preStop?.sleep?.seconds ?? 0);

    it('accepts the objects, and they fit each other', () => {
      for (const deployment of [api, worker]) new Deployment(deployment).validate();
      new Service(service).validate();
      const broken = structuredClone(api) as unknown as { spec: { template: { spec: Record<string, unknown> } } };
      broken.spec.template.spec['terminationGracePeriodSeconds'] = '45 s';
      expect(() => new Deployment(broken as object).validate()).toThrow(/terminationGracePeriodSeconds/);

      for (const deployment of [api, worker]) {
        const { selector, template } = new Deployment(deployment).spec!;
        expect(template.metadata!.labels).toEqual(selector.matchLabels);
        // What the engine needs at most, see docs/durable.md.
        expect(graceOf(deployment)).toBeGreaterThanOrEqual(30);
        const { ports } = containerOf(deployment);
        const { startupProbe, readinessProbe, livenessProbe } = containerOf(deployment);
        // The schema lets unknown keys pass, so a misspelt one is found by what is missing.
        const probes =
          deployment === api ? [startupProbe, readinessProbe, livenessProbe] : [startupProbe, livenessProbe];
        for (const probe of probes) expect(ports).toEqual([{ name: probe!.httpGet!.port, containerPort: 3000 }]);
      }
      expect(containerOf(api).lifecycle!.preStop!.sleep!.seconds).toBeGreaterThanOrEqual(5);
      const { selector, ports } = new Service(service).spec!;
      expect(selector).toEqual(new Deployment(api).spec!.selector.matchLabels);
      expect(ports![0]!.targetPort).toBe('http');
    });

    /** Starts a container as the kubelet does: with its variables, and ready when its probes succeed. */
    async function startContainer(deployment: unknown, gateway: Gateway) {
      const port = await freePort();
      const { env, startupProbe, readinessProbe, livenessProbe } = containerOf(deployment);
      const own = Object.fromEntries(env!.map(({ name, value }) => [name, value]));
      const process = startFile(page, 'src/main.ts', { ...environment(gateway), ...own, PORT: String(port) });
      const url = `http://127.0.0.1:${port}`;
      const probe = async (path: string) => (await fetch(`${url}${path}`)).status;
      await eventually(async () => (await probe(startupProbe!.httpGet!.path!)) === 200);
      for (const { httpGet } of [readinessProbe, livenessProbe].flatMap((one) => one ?? []))
        await expect(probe(httpGet!.path!)).resolves.toBe(200);
      /** SIGTERM, and SIGKILL when the time is over. */
      const terminate = async () => {
        const kill = setTimeout(() => process.child.kill('SIGKILL'), graceOf(deployment) * 1_000);
        const ended = once(process.child, 'exit');
        process.child.kill('SIGTERM');
        const [, signal] = (await ended) as [number, NodeJS.Signals];
        clearTimeout(kill);
        return signal;
      };
      return { ...process, url, probe, terminate };
    }

    it('probes answer in both roles; a worker that is replaced finishes what has left, and its successor sends the rest', async () => {
      const gateway = await gatewayOf();
      const pods = [await startContainer(api, gateway), await startContainer(worker, gateway)] as const;
      // While the gateway rejects a pod, its probes answer as before, and it takes callbacks.
      gateway.nextStatus('wrong_credentials');
      await expect(pods[0].probe('/health/sms')).resolves.toBe(503);
      await expect(pods[0].probe(containerOf(api).readinessProbe!.httpGet!.path!)).resolves.toBe(200);
      await expect(callback(pods[0].url, 'message-id-VvkmLHkfhCX9', 'delivered')).resolves.toBe(200);
      await expect(pods[1].probe('/health/sms')).resolves.toBe(200);

      const { sms } = await run(gateway, store.options, { engine: { role: 'producer' } });
      gateway.nextSend({ delayMs: 1_500 });
      await sms.enqueue({ msisdn: TO, text: 'first' }, { id: 'first' });
      await gateway.waitForMessage(({ text: sent }) => sent === 'first');
      await expect(pods[1].terminate()).resolves.toBe('SIGTERM');
      await expect(sms.find('first')).resolves.toMatchObject({ state: 'accepted' });

      await sms.enqueue({ msisdn: TO, text: 'second' }, { id: 'second' });
      await startContainer(worker, gateway);
      await gateway.waitForMessage(({ text: sent }) => sent === 'second');
      expect(gateway.requests.post).toBe(2);
      await expect(pods[0].terminate()).resolves.toBe('SIGTERM');
    });
  });

  describe('forwarding', () => {
    const page = pageOfSuite('docs/recipes/forwarding.md');
    const FORWARD_SECRET = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    interface Forwarded {
      type: string;
      timestamp: string;
      data: { ref?: string; status: string; final: boolean };
    }
    type Receive = (secret: string, body: string, headers: Record<string, string>) => Forwarded | undefined;

    it('signs each status, repeats it until the receiver has it, and the receiver takes it once', async () => {
      const { receive } = await page.module<{ receive: Receive }>('src/receiver.ts');
      const received: Forwarded[] = [];
      const attempts: { id: string; isNew: boolean }[] = [];
      let done!: () => void;
      let fail!: (error: unknown) => void;
      const complete = new Promise<void>((...settle) => ([done, fail] = settle));
      const server = createServer((request, response) => {
        void text(request)
          .then((body) => {
            const headers = request.headers as Record<string, string>;
            const attempt = attempts.length;
            // A receiver that is down, and one whose answer is lost after it has taken the event.
            if (attempt === 0) {
              attempts.push({ id: headers['webhook-id']!, isNew: false });
              response.writeHead(503).end();
              return;
            }
            const event = receive(FORWARD_SECRET, body, headers);
            attempts.push({ id: headers['webhook-id']!, isNew: event !== undefined });
            if (event) received.push(event);
            // A body or an id that was changed on the way, and another secret, are rejected.
            const changes: Parameters<Receive>[] = [
              [FORWARD_SECRET, `${body} `, headers],
              [FORWARD_SECRET, body, { ...headers, 'webhook-id': 'another' }],
              [FORWARD_SECRET.replace('M', 'N'), body, headers],
            ];
            for (const changed of changes) expect(() => receive(...changed)).toThrow(/signature/i);
            if (attempt === 1) {
              request.socket.destroy();
              return;
            }
            response.writeHead(204).end();
            if (attempt === 3) done();
          })
          .catch(fail);
      }).listen(0, '127.0.0.1');
      atEnd(() => server.close().closeAllConnections());
      await once(server, 'listening');
      process.env['FORWARD_SECRET'] = FORWARD_SECRET;
      process.env['FORWARD_URL'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/statuses`;
      const { StatusForwarder } = await page.module<{ StatusForwarder: Type }>('src/status-forwarder.ts');

      const gateway = await gatewayOf();
      const { sms, url } = await run(gateway, store.options, { providers: [StatusForwarder] });
      const { uid } = await sms.send({ msisdn: TO, text: 'Заказ собран', ref: 'order 42' });
      await callback(url, uid, 'awaiting_report');
      await callback(url, uid, 'delivered');
      await complete;
      expect(received.map(({ type, data }) => ({ type, ...data }))).toEqual([
        { type: 'sms.status', ref: 'order 42', status: 'awaiting_report', final: false },
        { type: 'sms.status', ref: 'order 42', status: 'delivered', final: true },
      ]);
      // 503, taken without an answer, repeated, and then the next status.
      expect(attempts.map(({ isNew }) => isNew)).toEqual([false, true, false, true]);
      expect(new Set(attempts.slice(0, 3).map(({ id }) => id)).size).toBe(1);
      expect(JSON.stringify(received)).not.toContain(TO);
    });
  });
});
