import { isRtSmsError, RtSmsConfigError, type RtSmsError } from '../rt-sms.errors.js';
import { resolveOptions } from '../options/resolve-options.js';
import type { RtSmsOptions } from '../options/rt-sms.options.js';
import { AccountHttp } from './account-http.js';
import type { RatePermit } from './call-options.js';
import { GatewayClient } from './gateway-client.js';
import { TransportFailure } from './transport-failure.js';
import type { RequestAttempt } from './request-attempt.js';
import { Transport } from './transport.js';
import type { GatewayAnswer } from './wire.js';

const MESSAGE = { msisdn: '79270000001', text: 'Привет', shortcode: 'SHOP', segments: 1 };
const UID = 'message-id-VvkmLHkfhCX9';
const answer = (body: object): GatewayAnswer => ({ status: 200, headers: {}, data: JSON.stringify(body) });
const SENT = answer({ result: { uid: UID }, status: 'ok' });
const UNSAVED = answer({ reason: 'system_error', status: 'error' });
const DENIED = answer({ reason: 'wrong_credentials', status: 'error' });

const notSent = (code: string) => new TransportFailure(code, { cause: Object.assign(new Error(code), { code }) });
const permanent = new TransportFailure('CERT_HAS_EXPIRED', { permanent: true });
const full = new TransportFailure('0 requests wait', { overloaded: true });
/** Failure after the request has left. */
const lost = new TransportFailure('the connection was lost');

/** A gateway whose requests end with these endings, one after the other; the last one repeats. Counts the requests. */
function gatewayOver(endings: (GatewayAnswer | TransportFailure)[], more: Partial<RtSmsOptions> = {}) {
  const options = resolveOptions({ login: 'shop', password: 'secret', ...more }, 'default', false);
  const transport = new Transport({ ...options, connectMs: 1 });
  let requests = 0;
  transport.send = async (_request, attempt: RequestAttempt) => {
    const ending = endings[Math.min(requests++, endings.length - 1)]!;
    if (!(ending instanceof TransportFailure) || ending === lost) attempt.written = true;
    if (ending instanceof TransportFailure) throw ending;
    return ending;
  };
  const http = new AccountHttp(transport, options.url);
  return { gateway: new GatewayClient(options, http, transport), http, requests: () => requests };
}

async function send(endings: (GatewayAnswer | TransportFailure)[], more?: Partial<RtSmsOptions>) {
  const { gateway, requests } = gatewayOver(endings, more);
  const result = await gateway.send(MESSAGE).catch((error: RtSmsError) => error);
  const { attempts } = result;
  expect(requests()).toBe(attempts);
  return { attempts, ended: isRtSmsError(result) ? result.outcome : result.uid };
}

describe('a send', () => {
  it.each([
    ['that was not sent is retried', [notSent('ECONNREFUSED'), SENT], { attempts: 2, ended: UID }],
    ['that was not sent is retried twice', [notSent('ECONNREFUSED')], { attempts: 3, ended: 'not_sent' }],
    ['is retried twice after a temporary DNS failure', [notSent('EAI_AGAIN')], { attempts: 3, ended: 'not_sent' }],
    ['is retried once if the host does not exist', [notSent('ENOTFOUND')], { attempts: 2, ended: 'not_sent' }],
    ['is not retried after a permanent failure', [permanent, SENT], { attempts: 1, ended: 'not_sent' }],
    ['is not retried if the queue is full', [full, SENT], { attempts: 1, ended: 'not_sent' }],
    ['that was not saved is retried', [UNSAVED, SENT], { attempts: 2, ended: UID }],
    ['that was not saved is retried twice', [UNSAVED], { attempts: 3, ended: 'rejected' }],
    ['that was rejected is not retried', [DENIED, SENT], { attempts: 1, ended: 'rejected' }],
    ['with an unknown outcome is not retried', [lost, SENT], { attempts: 1, ended: 'unknown' }],
    ['that was not saved and then lost is not retried', [UNSAVED, lost, SENT], { attempts: 2, ended: 'unknown' }],
  ])('%s', async (_, endings, expected) => {
    expect(await send(endings)).toEqual(expected);
  });

  it.each([notSent('ECONNREFUSED'), notSent('ENOTFOUND'), UNSAVED])(
    'is not retried with retry.send 0',
    async (ending) => {
      expect(await send([ending, SENT], { retry: { send: 0 } })).toMatchObject({ attempts: 1 });
    },
  );

  it('is retried at most retry.send times', async () => {
    expect(await send([UNSAVED], { retry: { send: 4 } })).toMatchObject({ attempts: 5, ended: 'rejected' });
  });

  it('ends with its failure and does not wait beyond its deadline', async () => {
    const { gateway } = gatewayOver([notSent('ECONNREFUSED')], { retry: { send: 10 } });
    const began = performance.now();
    const error = await gateway.send(MESSAGE, { timeoutMs: 150 }).catch((failure: RtSmsError) => failure);
    expect(error).toMatchObject({ code: 'RT_SMS_CONNECTION', outcome: 'not_sent' });
    // All ten retries would take 13 s on average.
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

it('a send that is too late or aborted when it begins is not sent and releases its permit', async () => {
  const { gateway, requests } = gatewayOver([SENT], { rate: { perSecond: 1 } });
  for (const limits of [{ startBefore: Date.now() - 1 }, { signal: AbortSignal.abort() }]) {
    let permit: RatePermit | undefined;
    gateway.acquirePermit((granted) => (permit = granted));
    expect(permit).toBeDefined();
    await expect(gateway.send(MESSAGE, { ...limits, permit })).rejects.toMatchObject({
      outcome: 'not_sent',
      attempts: 0,
    });
  }
  expect(requests()).toBe(0);
});

it.each([{ cert: 'garbage' }, { key: 'garbage', passphrase: 'open sesame' }])(
  'unusable certificates stop the start: %j',
  (tls) => {
    const start = () => gatewayOver([SENT], { tls, proxy: 'http://127.0.0.1:3128' });
    expect(start).toThrow(RtSmsConfigError);
    expect(start).toThrow(/cannot start:\n.*tls\.(cert|key): must be PEM text or the path of a file/s);
    expect(start).not.toThrow(/sesame/);
  },
);

it('a stray % in the password of a proxy is accepted', () => {
  expect(() => gatewayOver([SENT], { proxy: 'http://us%er:100%@127.0.0.1:3128' })).not.toThrow();
});

it('an error of a request interceptor is not retried, and nothing was sent', async () => {
  const { gateway, http, requests } = gatewayOver([SENT]);
  http.axiosRef.interceptors.request.use(() => {
    throw new Error('no');
  });
  await expect(gateway.send(MESSAGE)).rejects.toMatchObject({
    code: 'RT_SMS_CONNECTION',
    outcome: 'not_sent',
    retryable: false,
    attempts: 1,
  });
  expect(requests()).toBe(0);
});

it('a status request is retried after any transient failure', async () => {
  for (const ending of [notSent('ECONNREFUSED'), lost, UNSAVED]) {
    const { gateway, requests } = gatewayOver([ending]);
    const error = await gateway.status(UID).catch((failure: RtSmsError) => failure);
    expect([(error as RtSmsError).attempts, requests()]).toEqual([3, 3]);
  }
});

it('an outage during 1000 sends adds at most a fifth to the requests', async () => {
  const { gateway, requests } = gatewayOver([notSent('ECONNREFUSED')]);
  const began = performance.now();
  await Promise.allSettled(Array.from({ length: 1_000 }, () => gateway.send(MESSAGE)));
  const seconds = (performance.now() - began) / 1_000;
  expect(requests()).toBeLessThanOrEqual(1_000 * 1.2 + 20 + seconds);
  expect(requests()).toBeGreaterThan(1_000);
});
