import { Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import {
  isRtSmsError,
  maskNumber,
  normalizeMsisdn,
  RtSmsConfigError,
  RtSmsValidationError,
  type RtSmsService,
} from 'nestjs-rt-sms';
import { isChallengeId, isSame, newChallengeId, open, seal, type OtpSubject } from './otp-code.js';
import { nameOfError, RtSmsOtpError } from './otp.errors.js';
import { refOf } from './otp.events.js';
import { textFor, warningsOf, type ResolvedOtpOptions } from './otp.options.js';
import type { OtpState, OtpStore } from './store.js';

/** A challenge whose code was sent. */
export interface OtpChallenge {
  /** Id of the challenge, for `resend` and `verify`. It need not be secret: the code cannot be computed from it. */
  challengeId: string;
  /** Time from which the code is no longer accepted. */
  expiresAt: Date;
  /** Time from which the code may be sent again. */
  resendAt: Date;
  /** Masked number, such as `7927*****01`. */
  to: string;
  /** `queued` with a durable engine, else `sent`; `unknown` if the message may have been sent. */
  outcome: 'sent' | 'queued' | 'unknown';
}

/**
 * Result of `verify`: the number as digits with the country code; or the reason, and the codes that may still be tried.
 * `locked`: all attempts were wrong. `used`: the right code was accepted before.
 */
export type OtpVerification =
  { ok: true; msisdn: string } | { ok: false; reason: 'wrong' | Exclude<OtpState, 'open'>; attemptsLeft: number };

/** The part of `RtSmsService` by which codes are sent. */
export type OtpSender = Pick<RtSmsService, 'account' | 'isDurable' | 'send' | 'enqueue'>;

const after = (ms: number) => new Date(Date.now() + ms);
const failed = (reason: 'wrong' | Exclude<OtpState, 'open'>, attemptsLeft = 0) =>
  ({ ok: false, reason, attemptsLeft }) as const;

/** Sends one-time codes and checks them. */
export class RtSmsOtpService implements OnModuleInit, OnApplicationShutdown {
  // Private names, because a logger that receives the service must not print its secrets.
  readonly #options: ResolvedOtpOptions;
  readonly #sms: OtpSender;

  /** @internal Created by `RtSmsOtpModule`. */
  constructor(options: ResolvedOtpOptions, sms: OtpSender) {
    this.#options = options;
    this.#sms = sms;
  }

  /**
   * Starts a challenge: sends a new code, which is valid for this challenge, number and purpose only.
   * @throws RtSmsError as `send` does if the message was not sent or was rejected; the challenge does not exist then
   * @throws RtSmsOtpError with the code `RT_SMS_OTP_STORE`
   */
  async start(msisdn: string | number, options: { purpose: string }): Promise<OtpChallenge> {
    const { keys, digits, ttlMs, attempts, resendAfterMs } = this.#options;
    const subject = { msisdn: normalizeMsisdn(msisdn), purpose: this.purposeOf(options), digits };
    const id = newChallengeId();
    const sealed = seal(keys[0]!, id, subject);
    const text = this.text(open(keys, id, sealed)!, ttlMs);
    // Stored before the send, so that a code that has reached a phone is not refused after a crash.
    await this.stored((store) => store.create(id, { sealed, ttlMs, attempts, resendAfterMs: resendAfterMs[0]! }));
    try {
      return await this.deliver(id, subject.msisdn, text, {
        sends: 1,
        expiresInMs: ttlMs,
        resendInMs: resendAfterMs[0]!,
      });
    } catch (error) {
      // If this fails, the challenge expires by itself. Its id was not returned.
      await this.#options.store.remove(id).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Sends the same code again, if it is still valid and its pause has passed. A send that certainly never left does not count.
   * @throws RtSmsOtpError with the code `RT_SMS_OTP_TOO_SOON` and `retryAfterMs`; `RT_SMS_OTP_USED`, `_EXPIRED`, `_LOCKED` or
   * `_UNKNOWN`, if the challenge is not open; `_STORE`
   * @throws RtSmsError as `send` does; the challenge stays open
   */
  async resend(challengeId: string): Promise<OtpChallenge> {
    const { keys, resendAfterMs, store } = this.#options;
    const isId = isChallengeId(challengeId);
    const record = isId ? await this.stored(() => store.step(challengeId, 'resend', resendAfterMs)) : undefined;
    const subject = record && open(keys, challengeId, record.sealed);
    if (!subject) throw this.error('RT_SMS_OTP_UNKNOWN');
    // The pause may end while the store answers.
    if (record.state === 'open' && !record.done)
      throw this.error('RT_SMS_OTP_TOO_SOON', Math.max(0, Math.ceil(record.resendInMs)));
    if (record.state !== 'open')
      throw this.error(`RT_SMS_OTP_${record.state.toUpperCase() as Uppercase<typeof record.state>}`);
    try {
      return await this.deliver(challengeId, subject.msisdn, this.text(subject, record.expiresInMs), record);
    } catch (error) {
      const hasLeft = isRtSmsError(error) && error.outcome === 'rejected';
      if (!hasLeft) await store.step(challengeId, 'undo', [record.sends]).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Compares a code, regardless of spaces and hyphens. Over all replicas at most `attempts` codes of a challenge are compared,
   * and the right one is accepted once.
   * @throws RtSmsOtpError with the code `RT_SMS_OTP_STORE`
   */
  async verify(challengeId: string, code: string, options: { purpose: string }): Promise<OtpVerification> {
    const purpose = this.purposeOf(options);
    if (!isChallengeId(challengeId)) return failed('unknown');
    const record = await this.stored((store) => store.step(challengeId, 'attempt'));
    // Nothing is compared without an attempt, whatever a store answers.
    if (record && !record.done) return failed(record.state === 'open' ? 'unknown' : record.state);
    const subject = record && open(this.#options.keys, challengeId, record.sealed);
    if (!subject) return failed('unknown');
    const typed = (typeof code === 'string' ? code : '').slice(0, 40).replaceAll(/[\s\p{Pd}\p{Cf}]+/gu, '');
    if (!isSame(typed, subject.code) || purpose !== subject.purpose) return failed('wrong', record.attemptsLeft);
    const use = await this.stored((store) => store.step(challengeId, 'use'));
    return use?.done ? { ok: true, msisdn: subject.msisdn } : failed('used');
  }

  /** Called by Nest: prepares the store and warns of options that cost money or security. */
  async onModuleInit(): Promise<void> {
    try {
      await this.#options.store.prepare?.();
    } catch (error) {
      const problem = `otp store: cannot be used (${nameOfError(error)}); check its address, rights and package`;
      throw new RtSmsConfigError([problem], this.#sms.account);
    }
    const logger = new Logger('RtSmsOtp');
    for (const warning of warningsOf(this.#options)) logger.warn(warning);
  }

  /** Called by Nest: closes the store. */
  async onApplicationShutdown(): Promise<void> {
    await this.#options.store.close?.();
  }

  private async deliver(
    id: string,
    msisdn: string,
    text: string,
    { sends, expiresInMs, resendInMs }: Record<'sends' | 'expiresInMs' | 'resendInMs', number>,
  ): Promise<OtpChallenge> {
    const { isDurable } = this.#sms;
    const { overdueAfterMs } = this.#options;
    const overdue = overdueAfterMs === false ? {} : { overdueAfterMs };
    const message = { msisdn: `+${msisdn}`, text, ref: refOf(id, sends), ...overdue };
    const [expiresAt, resendAt] = [after(expiresInMs), after(resendInMs)];
    const challenge = { challengeId: id, expiresAt, resendAt, to: maskNumber(msisdn) };
    try {
      // In a queue in memory a code has no advantage, and its errors would only come as events.
      if (isDurable) await this.#sms.enqueue(message, { priority: 'otp', expiresAt });
      else await this.#sms.send(message);
      return { ...challenge, outcome: isDurable ? 'queued' : 'sent' };
    } catch (error) {
      if (isRtSmsError(error) && error.outcome === 'unknown') return { ...challenge, outcome: 'unknown' };
      throw error;
    }
  }

  private text({ code, purpose }: OtpSubject & { code: string }, validMs: number): string {
    return (
      textFor(this.#options, code, purpose, validMs) ?? this.reject('text must return a string that contains the code')
    );
  }

  private purposeOf(options: { purpose: string }): string {
    const { purpose, ...others } = options ?? {};
    const [unknown] = Object.keys(others);
    if (unknown !== undefined) this.reject(`options has no key '${unknown.slice(0, 40)}'; the only key is purpose`);
    const isPurpose = typeof purpose === 'string' && purpose !== '' && purpose.length <= 64;
    return isPurpose ? purpose : this.reject("purpose must be a string of 1 to 64 characters, such as 'login'");
  }

  private async stored<T>(request: (store: OtpStore) => Promise<T>): Promise<T> {
    try {
      return await request(this.#options.store);
    } catch (error) {
      throw new RtSmsOtpError('RT_SMS_OTP_STORE', this.#sms.account, undefined, ` (${nameOfError(error)})`);
    }
  }

  private error(code: RtSmsOtpError['code'], retryAfterMs?: number): RtSmsOtpError {
    return new RtSmsOtpError(code, this.#sms.account, retryAfterMs);
  }

  private reject(problem: string): never {
    throw new RtSmsValidationError([problem], { account: this.#sms.account });
  }
}
