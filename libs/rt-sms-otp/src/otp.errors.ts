import { RtSmsError } from 'nestjs-rt-sms';

const NEW = 'Fix: start a new challenge';
const MESSAGES = {
  RT_SMS_OTP_TOO_SOON: 'The code cannot be sent again yet. Fix: wait for retryAfterMs',
  RT_SMS_OTP_USED: `The challenge has been used, its code was accepted. ${NEW}`,
  RT_SMS_OTP_EXPIRED: `The challenge has expired. ${NEW}`,
  RT_SMS_OTP_LOCKED: `The challenge is locked, because all of its attempts were wrong. ${NEW}`,
  RT_SMS_OTP_UNKNOWN: `The challenge does not exist, or its secret was removed from the options. ${NEW}`,
  RT_SMS_OTP_STORE: 'The store of one-time codes failed. Fix: check that it is reachable',
};

/** A code cannot be sent again, or the store failed; nothing was sent. All other errors are those of `nestjs-rt-sms`. */
export class RtSmsOtpError extends RtSmsError {
  constructor(
    /** Stable code for `switch`. */
    readonly code: keyof typeof MESSAGES,
    account: string,
    /** Milliseconds until the code may be sent again, only with `RT_SMS_OTP_TOO_SOON`. */
    readonly retryAfterMs?: number,
    detail = '',
  ) {
    super(MESSAGES[code] + detail, 'not_sent', /TOO_SOON|STORE/.test(code), { account });
  }
}

/** Name of a store's error. Its message is not shown, because it may hold the command with its arguments. */
export function nameOfError(error: unknown): string {
  const { code, name } = (error ?? {}) as Record<string, unknown>;
  return [code, name].find((word): word is string => typeof word === 'string' && /^\w{2,40}$/.test(word)) ?? 'unknown';
}
