import { randomBytes } from 'node:crypto';
import { readBody, REASONS } from '../protocol.js';
import { checkAnswer, uidIn } from './check-answer.js';
import { describeAnswer, describeExpected, describeRequest } from './describe.js';
import { NoAnswerError, sendRequest, UnreachableError, type VerifyAnswer, type VerifyRequest } from './request.js';
import { type Row, rowsFor, type Values } from './rows.js';
import { Secrets } from './secrets.js';

export interface VerifyOptions {
  /** Address of the API: `https://sms.rt.ru/api/v2/send_message`. */
  readonly url: URL;
  readonly login: string;
  readonly password: string;
  /** An agreed sender name. */
  readonly shortcode: string | undefined;
  /** Number that messages are sent to, digits only; without it no row sends one. */
  readonly number: string | undefined;
  /** Milliseconds that each answer may take. */
  readonly timeoutMs: number;
}

/** The result of one row, without secrets. */
export interface RowResult {
  readonly row: string;
  /** Sections of the document. */
  readonly sections: string;
  readonly sent: string;
  readonly document: string;
  readonly came: string;
  /** Empty if the gateway does what the document says. */
  readonly differences: readonly string[];
  /** The row could not be tried, because an earlier one failed. */
  readonly skipped?: true;
}

/** The gateway cannot be verified: it is out of reach, or it rejects the account. The message says how to fix it. */
export class NotVerifiableError extends Error {}

const SHORTCODE = 'TEST';
const TEXT = 'Проверка "API" №1: ёж & <100%>';

const FIXES: Readonly<Record<string, string>> = {
  wrong_ip: 'Fix: add the address of this machine to the list of client addresses in the cabinet.',
  wrong_credentials: 'Fix: set the login and the password of the HTTP connection in the cabinet.',
  auth_required: 'Fix: check that nothing between this machine and the gateway removes the Authorization header.',
};

/**
 * Sends the requests of all rows, one after the other, and compares the answers with the document.
 *
 * @throws NotVerifiableError if the gateway cannot be reached or does not accept the account
 */
export async function* verify(options: VerifyOptions): AsyncGenerator<RowResult> {
  const values = valuesOf(options);
  const secrets = secretsOf(values);
  const uids = new Set<string>();
  let sentUid: string | undefined;
  for (const [index, row] of rowsFor(options.number).entries()) {
    const uid = row.uid === 'sent' ? sentUid : row.uid;
    const request = requestOf(row, uid, options, values);
    const about = {
      row: row.name,
      sections: row.sections,
      sent: describeRequest(row, request, values),
      document: describeExpected(row),
    };
    if (row.uid === 'sent' && uid === undefined) {
      yield { ...about, came: 'no uid of an earlier row', differences: [], skipped: true };
      continue;
    }
    const answer = await answerTo(request, options);
    if (typeof answer === 'string') {
      if (index === 0)
        throw new NotVerifiableError(`${options.url.host} does not answer: ${answer}. Fix: check --url.`);
      yield { ...about, came: answer, differences: ['there is no complete answer'] };
      continue;
    }
    if (index === 0) assertAccepted(answer);
    const { number, text } = values;
    const context = {
      secrets,
      hasShortcode: options.shortcode !== undefined,
      number,
      text,
      uid,
      uids,
      now: new Date(),
    };
    yield { ...about, came: describeAnswer(answer, secrets), differences: checkAnswer(row, answer, context) };
    const newUid = row.expected === 'accepted' ? uidIn(answer) : undefined;
    if (newUid !== undefined) uids.add(newUid);
    sentUid ??= newUid;
  }
}

function valuesOf({ login, password, number = '', shortcode = SHORTCODE }: VerifyOptions): Values {
  const [wrongLogin, wrongPassword] = [randomBytes(9).toString('hex'), randomBytes(9).toString('hex')];
  return { login, password, wrongLogin, wrongPassword, number, shortcode, text: TEXT };
}

function secretsOf({ login, password, wrongLogin, wrongPassword, number, text }: Values): Secrets {
  const pairs = [basic(login, password), basic(login, wrongPassword), basic(wrongLogin, password)];
  return new Secrets([login, password, wrongLogin, wrongPassword, number, text, ...pairs]);
}

function basic(login: string, password: string): string {
  return Buffer.from(`${login}:${password}`).toString('base64');
}

function requestOf(row: Row, uid: string | undefined, { url }: VerifyOptions, values: Values): VerifyRequest {
  const { login, password, wrongLogin, wrongPassword } = values;
  const pair = {
    right: basic(login, password),
    'wrong password': basic(login, wrongPassword),
    'wrong login': basic(wrongLogin, password),
    none: undefined,
  }[row.credentials];
  const target = new URL(url);
  if (uid !== undefined) target.pathname += `/${encodeURIComponent(uid)}`;
  const body = typeof row.body === 'function' ? Buffer.from(JSON.stringify(row.body(values))) : row.body;
  return {
    url: target,
    method: row.method,
    headers: {
      accept: 'application/json',
      ...(pair !== undefined && { authorization: `Basic ${pair}` }),
      ...(body && { 'content-type': 'application/json; charset=utf-8', 'content-length': body.length }),
    },
    body,
  };
}

/** The answer, or why there is none. */
async function answerTo(request: VerifyRequest, { timeoutMs }: VerifyOptions): Promise<VerifyAnswer | string> {
  try {
    return await sendRequest(request, timeoutMs);
  } catch (error) {
    if (error instanceof NoAnswerError) return error.message;
    if (!(error instanceof UnreachableError)) throw error;
    const { host } = request.url;
    throw new NotVerifiableError(
      `${host} cannot be reached: ${error.message}. Fix: check --url, and that this machine can reach it.`,
      { cause: error },
    );
  }
}

/** With a login that is wrong, or from an address that is not in the list, all rows would differ. */
function assertAccepted({ status, body }: VerifyAnswer): void {
  if (status !== 401 && status !== 403) return;
  const { reason } = readBody(body.toString()) ?? {};
  const known = REASONS.find((one) => one === reason && one in FIXES);
  if (known) throw new NotVerifiableError(`The gateway rejects this account with ${status} ${known}. ${FIXES[known]}`);
}
