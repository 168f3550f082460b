import { Inject } from '@nestjs/common';
import { DEFAULT_ACCOUNT } from './options/rt-sms.options.js';

// Symbol.for: two copies of the package in one application mean the same providers.
/** Token of an account's `RtSmsService`; without a name that of the default account, which the class itself stands for, too. */
export const getRtSmsToken = (account = DEFAULT_ACCOUNT): symbol => Symbol.for(`nestjs-rt-sms:service:${account}`);

/** Token of an account's own `HttpService`, for axios interceptors. */
export const getRtSmsHttpToken = (account = DEFAULT_ACCOUNT): symbol => Symbol.for(`nestjs-rt-sms:http:${account}`);

/** Injects the `RtSmsService` of a named account. */
export const InjectRtSms = (account?: string): ParameterDecorator & PropertyDecorator => Inject(getRtSmsToken(account));

/** Injects the `HttpService` of an account. An interceptor that repeats requests voids "never twice". */
export const InjectRtSmsHttp = (account?: string): ParameterDecorator & PropertyDecorator =>
  Inject(getRtSmsHttpToken(account));
