import { randomBytes } from 'node:crypto';
import type { Provider } from '@nestjs/common';
import { normalizeMsisdn, type SmsMessage } from 'nestjs-rt-sms';
import { resolveOtpOptions, type RtSmsOtpOptions } from '../otp.options.js';
import { RtSmsOtpService, type OtpSender } from '../otp.service.js';

/**
 * Replacement for `RtSmsOtpService` in unit tests. It follows the rules of the service, sends nothing and shows the codes.
 *
 * ```ts
 * const otp = new RtSmsOtpRecorder();
 * const module = await Test.createTestingModule({ providers: [SignInService, ...otp.providers] }).compile();
 * const { challengeId } = await module.get(SignInService).begin('+7 927 000-00-01');
 * await module.get(SignInService).finish(challengeId, otp.lastCode('+7 927 000-00-01')!);
 * ```
 */
export class RtSmsOtpRecorder extends RtSmsOtpService {
  /** Providers for a testing module: the token of the service, resolved to this recorder. */
  readonly providers: Provider[] = [{ provide: RtSmsOtpService, useValue: this }];
  readonly #codes: Map<string, string>;
  readonly #errors: Error[];

  /** `options` are those of `RtSmsOtpModule`; none is required. */
  constructor(options: Partial<Omit<RtSmsOtpOptions, 'text'>> = {}) {
    const codes = new Map<string, string>();
    const errors: Error[] = [];
    const send = async ({ msisdn, text }: SmsMessage) => {
      const error = errors.shift();
      if (error) throw error;
      const number = normalizeMsisdn(msisdn);
      codes.set(number, text.split('\n')[0]!);
      return { uid: 'message-id-recorder0000', msisdn: number, shortcode: 'TEST', segments: 1, attempts: 1 };
    };
    const sender: OtpSender = { account: 'default', isDurable: false, send, enqueue: async () => ({ id: '' }) };
    const text: RtSmsOtpOptions['text'] = ({ code }) => code;
    super(resolveOtpOptions({ secret: randomBytes(32), ...options, text }, sender.account), sender);
    this.#codes = codes;
    this.#errors = errors;
  }

  /** Returns the last code that was sent to a number, or `undefined`. */
  lastCode(to: string | number): string | undefined {
    return this.#codes.get(normalizeMsisdn(to));
  }

  /** Makes the next send fail with this error. */
  failNext(error: Error): this {
    this.#errors.push(error);
    return this;
  }
}
