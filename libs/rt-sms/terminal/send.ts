import { addAbortSignal } from 'node:stream';
import {
  isRtSmsError,
  maskNumber,
  RtSmsAbortedError,
  type RtSmsService,
  type RtSmsStatusEvent,
  type SmsMessage,
} from 'nestjs-rt-sms';
import { withAccount } from './account.js';
import { UsageError, type Answer } from './answer.js';
import type { ParsedArgs } from './command-line.js';
import { counted } from './progress.js';

/** Limit of standard input in bytes, more than the longest message. */
const MAX_INPUT = 65_536;
/** Short pauses between status requests, because a user is waiting; the module's defaults are longer. */
const TRACKING = { schedule: [1_000, 2_000, 3_000, 5_000, 10_000, 15_000, 30_000] };

/** Sends one message; with `--wait`, the exit code shows whether it was delivered. */
export function send({ args, flags }: ParsedArgs, stopped: AbortSignal): Promise<Answer> {
  return withAccount(flags, flags.wait ? TRACKING : false, async ({ sms }) => {
    const message = await messageFrom(args, stopped).catch((error: unknown) => {
      if (!stopped.aborted) throw error;
      const context = { operation: 'send', account: sms.account, cause: error } as const;
      throw new RtSmsAbortedError('Stopped while reading standard input. Nothing was sent', 'not_sent', context);
    });
    const sent = await sms.send(message, { signal: stopped });
    const { uid, shortcode, segments } = sent;
    const accepted = `Accepted by the gateway for ${maskNumber(sent.msisdn)} as ${shortcode}, ${counted(segments, 'segment')}`;
    const json = { outcome: 'sent', ...sent, msisdn: maskNumber(sent.msisdn) };
    if (!flags.wait)
      return { code: 0, text: `${uid}\n${accepted}\nDelivery status: nestjs-rt-sms status ${uid}`, json };
    // Written before the wait, so that the uid is not lost with the process.
    process.stderr.write(`${accepted}: ${uid}\nWaiting for the final status, at most ${flags.timeout} s\n`);
    const final = await finalStatus(sms, uid, Number(flags.timeout) * 1_000, stopped);
    return { code: final.code, text: `${uid}\n${final.text}`, json: { ...json, ...final.json } };
  });
}

async function finalStatus(sms: RtSmsService, uid: string, timeoutMs: number, signal: AbortSignal): Promise<Answer> {
  let last: RtSmsStatusEvent | undefined;
  const seen = sms.statuses$.subscribe((event) => (last = event));
  try {
    const { status, parts, errorCode } = await sms.waitForFinal(uid, { timeoutMs, signal });
    return {
      code: status === 'delivered' ? 0 : 1,
      text: errorCode === undefined ? status : `${status}, error ${errorCode}`,
      json: { status, final: true, parts, errorCode },
    };
  } catch (error) {
    if (!isRtSmsError(error) || error.operation !== 'wait') throw error;
    const status = last?.status ?? 'unknown';
    const lastKnown = last === undefined ? '' : ` The last status was ${last.gatewayStatus}.`;
    const text = `${signal.aborted ? 'Stopped before the final status arrived' : error.message}.${lastKnown}`;
    // If it was stopped, the caller turns 1 into 130.
    return {
      code: signal.aborted ? 1 : 4,
      text: `${text}\nDelivery status: nestjs-rt-sms status ${uid}`,
      json: { status, final: false },
    };
  } finally {
    seen.unsubscribe();
  }
}

/** The message from the arguments. `-` reads standard input, whose first line is the number unless that is an argument. */
async function messageFrom([number = '-', text = '-']: readonly string[], stopped: AbortSignal): Promise<SmsMessage> {
  if (number !== '-' && text !== '-') return { msisdn: number, text };
  if (process.stdin.isTTY) {
    const expected = [number === '-' && 'the number', text === '-' && 'the text'].filter(Boolean).join(', then ');
    process.stderr.write(`Type ${expected} and end with Ctrl-D on a new line\n`);
  }
  const input = (await standardInput(stopped)).replace(/\r?\n$/, '');
  if (number !== '-') return { msisdn: number, text: input };
  const [, first = '', rest = ''] = /^([^\n]*?)(?:\r?\n([^]*))?$/.exec(input) ?? [];
  return { msisdn: first, text: text === '-' ? rest : text };
}

/** @throws UsageError if it is not UTF-8, or is too long */
async function standardInput(stopped: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of addAbortSignal(stopped, process.stdin)) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MAX_INPUT) break;
  }
  if (size > MAX_INPUT) throw new UsageError(`Standard input is too long for a message: over ${MAX_INPUT} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch (error) {
    throw new UsageError('Standard input is not UTF-8; convert it first, for example with iconv', { cause: error });
  }
}
