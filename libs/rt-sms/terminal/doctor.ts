import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import {
  describePolicy,
  isRtSmsError,
  resolvePolicy,
  resolveTls,
  RtSmsAuthError,
  RtSmsNotFoundError,
  type RtSmsOptions,
} from 'nestjs-rt-sms';
import { variableOf, withAccount, type Account } from './account.js';
import { UsageError, type Answer } from './answer.js';
import type { ParsedArgs } from './command-line.js';

interface Finding {
  readonly result: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly text: string;
  /** The fix, unless `text` contains it. */
  readonly fix?: string;
}
type Findings = Record<string, Finding>;

/** A well-formed uid that is too regular to be assigned: a status request for it costs nothing. */
const UNUSED_UID = 'message-id-000000000000';
const TIMEOUT_MS = 10_000;
/** Node's default of 250 ms is too short for a slow gateway. */
const EACH_ADDRESS = { autoSelectFamilyAttemptTimeout: 3_000 };
const CLOSE_S = 2;
const SKEW_S = 30;
const DAY_MS = 86_400_000;
const FEW_DAYS = 14;

const finding = (result: Finding['result'], text: string, fix?: string): Finding => ({
  result,
  text,
  ...(fix === undefined ? {} : { fix }),
});
const codeOf = (error: unknown) => {
  const { cause, code, message } = error as Error & { code?: string; cause?: { code?: string } };
  return cause?.code ?? code ?? message;
};

/** Runs the checks one after the other without sending a message. Password and secret are never shown. */
export async function doctor({ flags }: ParsedArgs): Promise<Answer> {
  const findings: Findings = {};
  try {
    await withAccount(flags, false, async (account) => {
      const password = await readPassword(account);
      findings.configuration = configuration(account, password);
      if (password.finding) findings.password = password.finding;
      await examineGateway(account, findings);
      findings.policy = policy(account);
      findings.sender = sender(account);
      findings.callback = await callback(flags.callbackUrl, account.options);
    });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    findings.configuration = finding(
      'failed',
      error.message,
      'set these variables, or read them from a file: --env FILE',
    );
  }
  const checks = Object.entries(findings).map(([check, found]) => ({ check, ...found }));
  const ok = checks.every(({ result }) => result !== 'failed');
  const lines = checks.flatMap(({ check, result, text, fix }) => [
    `${result.padEnd(8)} ${check.padEnd(14)} ${text}`,
    ...(fix === undefined ? [] : [`${' '.repeat(24)}Fix: ${fix}`]),
  ]);
  return { code: ok ? 0 : 1, text: lines.join('\n'), json: { ok, checks } };
}

/** Reads the password of a file twice, as the module does when the gateway rejects it. */
async function readPassword({ name, options: { password } }: Account): Promise<{ value: string; finding?: Finding }> {
  if (typeof password === 'string') return { value: password };
  const variable = `${variableOf('password', name)}_FILE`;
  const read = async () => password();
  try {
    const value = await read();
    if (value !== (await read()))
      return {
        value,
        finding: finding(
          'warning',
          `two reads of the file of ${variable} differ`,
          'run this again when the file does not change',
        ),
      };
    const text = `read from the file of ${variable}, and again when the gateway rejects it`;
    return { value, finding: finding('ok', text) };
  } catch {
    return {
      value: '',
      finding: finding('failed', `the file of ${variable} could not be read again`, 'check the file'),
    };
  }
}

function configuration({ name, options }: Account, password: { value: string }): Finding {
  if (!/^(['"]).*\1$/.test(password.value)) return finding('ok', 'complete');
  const variable = variableOf('password', name) + (typeof options.password === 'string' ? '' : '_FILE');
  const text = `complete, but ${variable} is in quotes, which are part of the value`;
  return finding('warning', text, 'remove the quotes: `docker run --env-file` does not strip them');
}

async function examineGateway(account: Account, findings: Findings): Promise<void> {
  const gateway = new URL(account.http.axiosRef.defaults.baseURL ?? '');
  const { proxy } = account.options;
  const next = proxy === undefined ? gateway : new URL(proxy);
  const host = next.hostname.replace(/^\[|\]$/g, '');
  const port = Number(next.port) || (next.protocol === 'https:' ? 443 : 80);
  const at = `${proxy === undefined ? '' : 'the proxy '}${host}:${port}`;
  const steps: Record<string, () => Promise<Finding> | Finding> = {
    dns: async () => finding('ok', (await lookup(host, { all: true })).map(({ address }) => address).join(', ')),
    tcp: async () => {
      await opened(connect({ port, host, ...EACH_ADDRESS }), 'connect');
      return finding('ok', at);
    },
    tls: () => {
      if (proxy !== undefined) return finding('skipped', 'behind a proxy: tested by the next check');
      return next.protocol === 'https:'
        ? certificate(host, port, account.options.tls)
        : finding('skipped', `${next.origin} is not encrypted`);
    },
  };
  const fix: Record<string, string> = {
    dns: 'check RT_SMS_URL and the DNS resolver of this machine',
    tcp: `allow connections from this machine to ${at}, or set RT_SMS_PROXY`,
    tls: `check the clock of this machine. If Node does not trust the CA (the Russian Trusted Root CA, a proxy that intercepts TLS), set ${variableOf('tls.ca', account.name)}`,
  };
  for (const [name, check] of Object.entries(steps)) {
    try {
      findings[name] = await check();
    } catch (error) {
      findings[name] = finding('failed', `${at}: ${codeOf(error)}`, fix[name]);
      return;
    }
  }
  await requestStatus(account, findings);
}

async function opened(socket: Socket, event: string): Promise<void> {
  try {
    await once(socket, event, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } finally {
    socket.destroy();
  }
}

async function certificate(host: string, port: number, tls: RtSmsOptions['tls']): Promise<Finding> {
  const { material, warnings } = resolveTls(tls);
  const socket = connectTls({
    host,
    port,
    ...EACH_ADDRESS,
    ...(isIP(host) ? {} : { servername: host }),
    ...material,
    rejectUnauthorized: true,
  });
  let days = 0;
  socket.once('secureConnect', () => {
    days = Math.floor((Date.parse(socket.getPeerCertificate().valid_to) - Date.now()) / DAY_MS);
  });
  await opened(socket, 'secureConnect');
  const text = `the certificate is good for ${days} more days`;
  if (warnings.length > 0) return finding('warning', [text, ...warnings].join('; '), 'replace that certificate');
  return days < FEW_DAYS ? finding('warning', text, 'the gateway has to renew it') : finding('ok', text);
}

/** One status request for a message that does not exist checks login, password, address and clock. */
async function requestStatus({ sms, http }: Account, findings: Findings): Promise<void> {
  let ahead: number | undefined;
  http.axiosRef.interceptors.response.use((response) => {
    // The Date header has whole seconds, so the best estimate is half a second later.
    const seconds = (Date.now() - 500 - Date.parse(String(response.headers.date))) / 1_000;
    if (!Number.isNaN(seconds)) ahead = Math.round(seconds);
    return response;
  });
  const error: unknown = await sms.getStatus(UNUSED_UID).catch((error: unknown) => error);
  const wrongAddress = error instanceof RtSmsAuthError && error.reason === 'wrong_ip';
  const text = isRtSmsError(error) ? error.message : '';
  if (!isRtSmsError(error) || error instanceof RtSmsNotFoundError) {
    findings.credentials = finding('ok', 'the gateway accepts login and password');
    findings['IP list'] = finding('ok', 'the gateway accepts the address of this machine');
  } else {
    const skipped = finding('skipped', 'not tested: the gateway rejected the request for another reason');
    findings.credentials = wrongAddress ? skipped : finding('failed', text);
    findings['IP list'] = wrongAddress ? finding('failed', text) : skipped;
  }
  if (ahead === undefined) findings.clock = finding('skipped', 'the answer does not have a Date header');
  else findings.clock = clock(ahead);
}

/** The durable engine warns of a clock that is off, and takes no messages beyond the second limit. The header has whole seconds. */
function clock(ahead: number): Finding {
  const skew = Math.abs(ahead);
  if (skew <= CLOSE_S) return finding('ok', `${ahead} s from that of the gateway`);
  const text = `${skew} s ${ahead > 0 ? 'ahead of' : 'behind'} that of the gateway`;
  const fix = 'set it by NTP: timedatectl set-ntp true';
  return skew <= SKEW_S ? finding('warning', text, fix) : finding('failed', text, fix);
}

function policy({ name, options }: Account): Finding {
  const rules = describePolicy(resolvePolicy(options.policy));
  if (rules.length === 0) return finding('skipped', 'no rule is set in the environment');
  const text = rules.join('; ');
  return options.policy?.onlyTo
    ? finding('warning', text, `remove ${variableOf('policy.onlyTo', name)} in production`)
    : finding('ok', text);
}

function sender({ name, options: { shortcode } }: Account): Finding {
  if (shortcode === undefined)
    return finding('warning', 'not set: each message must have a shortcode', `set ${variableOf('shortcode', name)}`);
  const usual = /^[ -Z_a-z]{1,11}$/.test(shortcode);
  const untested = 'only a message shows whether it is agreed';
  return usual
    ? finding('ok', `the usual form; ${untested}`)
    : finding(
        'warning',
        `not the usual form, at most 11 ASCII characters; ${untested}`,
        'see the names in the cabinet',
      );
}

/** Sends a request as the provider does. Its id is not a uid, so it changes nothing in the application. */
async function callback(base: string | undefined, { callback: { secrets = [] } = {} }: RtSmsOptions): Promise<Finding> {
  if (base === undefined) return finding('skipped', 'not tested: --callback-url is not set');
  if (!URL.canParse(base)) return finding('failed', '--callback-url is not a valid URL');
  const [secret] = [secrets].flat();
  const url = new URL(base);
  const path = url.pathname.replace(/\/+$/, '');
  const bare = secret !== undefined && path.endsWith(`/${secret}`) ? path.slice(0, -secret.length - 1) : path;
  const statusOf = async (last: string) => {
    const address = new URL(`${bare}${last}?id=(doctor)&status=delivered&parts=1`, url);
    const response = await fetch(address, { redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT_MS) });
    await response.body?.cancel();
    return response.status;
  };
  try {
    const wrong = await statusOf(`/${randomBytes(24).toString('base64url')}`);
    if (wrong !== 404)
      return finding(
        'failed',
        `${wrong} for a wrong secret, not 404`,
        wrong < 300
          ? 'check the address: another server answers there, or it accepts any secret'
          : 'let requests to this path pass guards and proxies',
      );
    const right = await statusOf(secret === undefined ? '' : `/${secret}`);
    if (right !== 200)
      return finding(
        'failed',
        `${right} for the right secret, not 200`,
        'check that the application has the same secret and path, and that RT_SMS_CALLBACK_ALLOW_FROM includes the address of this machine',
      );
  } catch (error) {
    return finding(
      'failed',
      `${url.origin}: ${codeOf(error)}`,
      'check that the application is running, and that this is the address in the cabinet',
    );
  }
  if (secret === undefined)
    return finding(
      'warning',
      'it answers, but without a secret a callback is only a hint',
      'generate one: nestjs-rt-sms secret',
    );
  if (url.protocol === 'http:')
    return finding('warning', 'it answers, but without encryption: the secret can be read in transit', 'use https');
  return finding('ok', 'it accepts only the secret; tested from this machine, while the provider calls from outside');
}
