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

const MESSAGE = { msisdn: '79270000001', text: 'Привет', shortcode: 'SHOP' };
const UID = 'message-id-VvkmLHkfhCX9';
const answer = (body: object): GatewayAnswer => ({ status: 200, headers: {}, data: JSON.stringify(body) });
const SENT = answer({ result: { uid: UID }, status: 'ok' });
const UNSAVED = answer({ reason: 'system_error', status: 'error' });
const DENIED = answer({ reason: 'wrong_credentials', status: 'error' });

const notSent = (code: string) => new TransportFailure(code, { cause: Object.assign(new Error(code), { code }) });
const permanent = new TransportFailure('CERT_HAS_EXPIRED', { permanent: true });
const full = new TransportFailure('0 requests wait', { overloaded: true });
/** The one failure after the request has left. */
const lost = new TransportFailure('the connection was lost');

/** A wire of which each request has the next of these endings, the last for all that follow; its own requests are counted. */
function gatewayOver(endings: (GatewayAnswer | TransportFailure)[], given: Partial<RtSmsOptions> = {}) {
  const options = resolveOptions({ login: 'shop', password: 'secret', ...given }, 'default', false);
  const transport = new Transport({ ...options, connectMs: 1 });
  let requests = 0;
  transport.send = async (_request, exchange: RequestAttempt) => {
    const ending = endings[Math.min(requests++, endings.length - 1)]!;
    if (!(ending instanceof TransportFailure) || ending === lost) exchange.written = true;
    if (ending instanceof TransportFailure) throw ending;
    return ending;
  };
  const http = new AccountHttp(transport, options.url);
  return { gateway: new GatewayClient(options, http, transport), http, requests: () => requests };
}

async function send(endings: (GatewayAnswer | TransportFailure)[], given?: Partial<RtSmsOptions>) {
  const { gateway, requests } = gatewayOver(endings, given);
  const result = await gateway.send(MESSAGE).catch((error: RtSmsError) => error);
  const { attempts } = result;
  expect(requests()).toBe(attempts);
  return { attempts, ended: isRtSmsError(result) ? result.outcome : result.uid };
}

describe('a send', () => {
  it.each([
    ['not sent is repeated', [notSent('ECONNREFUSED'), SENT], { attempts: 2, ended: UID }],
    ['not sent is repeated twice', [notSent('ECONNREFUSED')], { attempts: 3, ended: 'not_sent' }],
    [
      'whose name could not be looked up now is repeated twice',
      [notSent('EAI_AGAIN')],
      { attempts: 3, ended: 'not_sent' },
    ],
    ['whose name does not exist is repeated once', [notSent('ENOTFOUND')], { attempts: 2, ended: 'not_sent' }],
    ['not sent for good is not repeated', [permanent, SENT], { attempts: 1, ended: 'not_sent' }],
    ['without a place in the queue is not repeated', [full, SENT], { attempts: 1, ended: 'not_sent' }],
    ['not saved is repeated', [UNSAVED, SENT], { attempts: 2, ended: UID }],
    ['not saved is repeated twice', [UNSAVED], { attempts: 3, ended: 'rejected' }],
    ['refused is not repeated', [DENIED, SENT], { attempts: 1, ended: 'rejected' }],
    ['of which nobody knows is not repeated', [lost, SENT], { attempts: 1, ended: 'unknown' }],
    ['not saved, then lost, is not repeated', [UNSAVED, lost, SENT], { attempts: 2, ended: 'unknown' }],
  ])('%s', async (_, endings, expected) => {
    expect(await send(endings)).toEqual(expected);
  });

  it.each([notSent('ECONNREFUSED'), notSent('ENOTFOUND'), UNSAVED])(
    'is not repeated with retry.send 0',
    async (ending) => {
      expect(await send([ending, SENT], { retry: { send: 0 } })).toMatchObject({ attempts: 1 });
    },
  );

  it('is repeated as often as retry.send says', async () => {
    expect(await send([UNSAVED], { retry: { send: 4 } })).toMatchObject({ attempts: 5, ended: 'rejected' });
  });

  it('ends with its failure rather than wait beyond its deadline', async () => {
    const { gateway } = gatewayOver([notSent('ECONNREFUSED')], { retry: { send: 10 } });
    const began = performance.now();
    const error = await gateway.send(MESSAGE, { timeoutMs: 150 }).catch((failure: RtSmsError) => failure);
    expect(error).toMatchObject({ code: 'RT_SMS_CONNECTION', outcome: 'not_sent' });
    // All ten repeats would take 13 s in the mean.
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

it('what is too late or no longer wanted when it begins is not sent, and gives its start under the rate back', async () => {
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
  'certificates that cannot be used stop the start: %j',
  (tls) => {
    const start = () => gatewayOver([SENT], { tls, proxy: 'http://127.0.0.1:3128' });
    expect(start).toThrow(RtSmsConfigError);
    expect(start).toThrow(/cannot start:\n.*tls\.(cert|key): must be PEM text or the path of a file/s);
    expect(start).not.toThrow(/sesame/);
  },
);

it('a proxy whose password has a stray % is no reason to fail', () => {
  expect(() => gatewayOver([SENT], { proxy: 'http://us%er:100%@127.0.0.1:3128' })).not.toThrow();
});

it('what an interceptor throws it would throw again: nothing was sent, and nothing is repeated', async () => {
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

it('a status request is repeated whatever kept it from an answer', async () => {
  for (const ending of [notSent('ECONNREFUSED'), lost, UNSAVED]) {
    const { gateway, requests } = gatewayOver([ending]);
    const error = await gateway.status(UID).catch((failure: RtSmsError) => failure);
    expect([(error as RtSmsError).attempts, requests()]).toEqual([3, 3]);
  }
});

it('an outage of 1000 sends makes at most a fifth more requests', async () => {
  const { gateway, requests } = gatewayOver([notSent('ECONNREFUSED')]);
  const began = performance.now();
  await Promise.allSettled(Array.from({ length: 1_000 }, () => gateway.send(MESSAGE)));
  const seconds = (performance.now() - began) / 1_000;
  expect(requests()).toBeLessThanOrEqual(1_000 * 1.2 + 20 + seconds);
  expect(requests()).toBeGreaterThan(1_000);
});
