import { Inject } from '@nestjs/common';
import { DEFAULT_ACCOUNT } from './options/rt-sms.options.js';

// Symbol.for, so that two copies of the package in one application use the same providers.
/** Token of an account's `RtSmsService`, by default of the default account, for which the class is a token as well. */
export const getRtSmsToken = (account = DEFAULT_ACCOUNT): symbol => Symbol.for(`nestjs-rt-sms:service:${account}`);

/** Token of an account's `HttpService`, for axios interceptors. */
export const getRtSmsHttpToken = (account = DEFAULT_ACCOUNT): symbol => Symbol.for(`nestjs-rt-sms:http:${account}`);

/** Injects the `RtSmsService` of a named account. */
export const InjectRtSms = (account?: string): ParameterDecorator & PropertyDecorator => Inject(getRtSmsToken(account));

/** Injects the `HttpService` of an account. With an interceptor that retries requests, a message may be sent twice. */
export const InjectRtSmsHttp = (account?: string): ParameterDecorator & PropertyDecorator =>
  Inject(getRtSmsHttpToken(account));
