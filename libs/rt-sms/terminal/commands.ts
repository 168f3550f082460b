import { callbackUrl, isRtSmsError, newCallbackSecret, RtSmsRejectedError, type RtSmsError } from 'nestjs-rt-sms';
import { mask, variableOf, withAccount } from './account.js';
import { bulk } from './bulk.js';
import { doctor } from './doctor.js';
import { UsageError, type CommandName, type Wishes } from './flags.js';
import type { Answer } from './program.js';
import { counted } from './progress.js';

const COMMANDS: Record<CommandName, (wishes: Wishes, stopped: AbortSignal) => Promise<Answer> | Answer> = {
  send,
  status,
  bulk,
  doctor,
  secret,
};

/** @throws UsageError */
export async function run(wishes: Wishes, stopped: AbortSignal): Promise<Answer> {
  try {
    return await COMMANDS[wishes.command](wishes, stopped);
  } catch (error) {
    if (!isRtSmsError(error)) throw error;
    const { outcome, message } = error;
    return { code: exitCode(error), says: message, json: { outcome, error }, failed: true };
  }
}

async function send(wishes: Wishes, signal: AbortSignal): Promise<Answer> {
  const [msisdn = '', text = ''] = wishes.args;
  const sent = await withAccount(wishes, ({ sms }) => sms.send({ msisdn, text }, { signal }));
  const masked = mask(sent.msisdn);
  const { uid, shortcode, segments } = sent;
  return {
    code: 0,
    says: `${uid}\nSent to ${masked} as ${shortcode}, ${counted(segments, 'segment')}`,
    json: { outcome: 'sent', ...sent, msisdn: masked },
  };
}

async function status(wishes: Wishes, signal: AbortSignal): Promise<Answer> {
  const [uid = ''] = wishes.args;
  const { text: _, ...report } = await withAccount(wishes, ({ sms }) => sms.getStatus(uid, { signal }));
  const json = { ...report, ...(report.msisdn === undefined ? {} : { msisdn: mask(report.msisdn) }) };
  const { status, gatewayStatus, final, updatedAt, parts, errorCode } = report;
  const facts = [
    status === 'unknown' && `the gateway says ${gatewayStatus}`,
    errorCode && `error ${errorCode}`,
    !final && 'not final',
    parts && `segments ${parts}`,
    updatedAt?.toISOString(),
  ];
  const good = status === 'delivered' || status === 'awaiting_report';
  return {
    code: good ? 0 : status === 'unknown' ? 3 : 1,
    says: [status, ...facts.filter(Boolean)].join(', '),
    json,
  };
}

function secret(wishes: Wishes): Answer {
  const made = newCallbackSecret();
  const base = wishes.flag('url') ?? 'https://your-host';
  if (!/^https?:\/\/[^?#]+$/.test(base) || !URL.canParse(base))
    throw new UsageError('--url must be an http or https address without ? and #');
  const { pathname, protocol, host } = new URL(base);
  const name = wishes.flag('account');
  const path = pathname === '/' ? (name === undefined ? {} : { name }) : { callbackPath: pathname };
  const url = callbackUrl(`${protocol}//${host}`, made, path);
  const variable = variableOf('callback.secrets', name);
  return {
    code: 0,
    says: `For the environment:  ${variable}=${made}\nFor the cabinet:      ${url}`,
    json: { secret: made, variable, url },
  };
}

/** Of a status request that came to nothing the status stays unknown. */
function exitCode(error: RtSmsError): number {
  if (error.code === 'RT_SMS_CONFIG' || error.code === 'RT_SMS_VALIDATION') return 2;
  if (error instanceof RtSmsRejectedError) return 1;
  return error.outcome === 'not_sent' ? 1 : 3;
}
