import {
  callbackUrl,
  isRtSmsError,
  maskNumber,
  newCallbackSecret,
  RtSmsRejectedError,
  RtSmsValidationError,
  type RtSmsError,
} from 'nestjs-rt-sms';
import { variableOf, withAccount } from './account.js';
import { UsageError, type Answer } from './answer.js';
import { bulk } from './bulk.js';
import type { CommandName, ParsedArgs } from './command-line.js';
import { doctor } from './doctor.js';
import { counted } from './progress.js';
import { send } from './send.js';

const COMMANDS: Record<CommandName, (parsed: ParsedArgs, stopped: AbortSignal) => Promise<Answer> | Answer> = {
  send,
  status,
  bulk,
  doctor,
  secret,
};

/** @throws UsageError */
export async function run(parsed: ParsedArgs, stopped: AbortSignal): Promise<Answer> {
  try {
    return await COMMANDS[parsed.command](parsed, stopped);
  } catch (error) {
    if (!isRtSmsError(error)) throw error;
    const { outcome, message } = error;
    const text = [message, ...shortNumber(error, parsed)].join('\n');
    return { code: exitCode(error), text, json: { outcome, error }, failed: true };
  }
}

async function status(parsed: ParsedArgs, signal: AbortSignal): Promise<Answer> {
  const [uid = ''] = parsed.args;
  const { text: _, ...report } = await withAccount(parsed.flags, false, ({ sms }) => sms.getStatus(uid, { signal }));
  const json = { ...report, ...(report.msisdn === undefined ? {} : { msisdn: maskNumber(report.msisdn) }) };
  const { status, gatewayStatus, final, updatedAt, parts, errorCode } = report;
  const facts = [
    status === 'unknown' && `the gateway's status is ${gatewayStatus}`,
    errorCode && `error ${errorCode}`,
    !final && 'not final',
    parts && `segments ${parts}`,
    updatedAt?.toISOString(),
  ];
  const good = status === 'delivered' || status === 'awaiting_report';
  return {
    code: good ? 0 : status === 'unknown' ? 3 : 1,
    text: [status, ...facts.filter(Boolean)].join(', '),
    json,
  };
}

function secret({ flags }: ParsedArgs): Answer {
  const made = newCallbackSecret();
  const base = flags.url ?? 'https://your-host';
  if (!/^https?:\/\/[^?#]+$/.test(base) || !URL.canParse(base))
    throw new UsageError('--url must be an http or https address without ? and #');
  const { pathname, protocol, host } = new URL(base);
  const name = flags.account;
  const path = pathname === '/' ? (name === undefined ? {} : { name }) : { callbackPath: pathname };
  const url = callbackUrl(`${protocol}//${host}`, made, path);
  const variable = variableOf('callback.secrets', name);
  return {
    code: 0,
    text: `For the environment:  ${variable}=${made}\nFor the cabinet:      ${url}`,
    json: { secret: made, variable, url },
  };
}

/** The module masks all digits of a short number. Fewer than 7 digits are not a full number, so they can be shown. */
function shortNumber(error: RtSmsError, { command, args: [typed = ''] }: ParsedArgs): string[] {
  const { length } = typed.replace(/\D/g, '');
  const isNumber = command === 'send' && /^[\d\s()+.-]*\d[\d\s()+.-]*$/.test(typed) && length < 10;
  if (!isNumber || !(error instanceof RtSmsValidationError && /\bmsisdn\b/.test(error.problems.join()))) return [];
  return [`The number as typed has ${counted(length, 'digit')}${length < 7 ? `: ${typed}` : ''}`];
}

/** A failed status request leaves the status unknown, so it ends with 3 unless the request was not sent. */
function exitCode(error: RtSmsError): number {
  if (error.code === 'RT_SMS_CONFIG' || error.code === 'RT_SMS_VALIDATION') return 2;
  if (error instanceof RtSmsRejectedError) return 1;
  return error.outcome === 'not_sent' ? 1 : 3;
}
