import 'reflect-metadata';
import { OnEvent } from '@nestjs/event-emitter';
import type { SmsStatus } from '../message/status.js';
import { RtSmsEvents, type RtSmsStatusEvent } from './events.js';

/**
 * Calls the method for each `RtSmsStatusEvent`, or only for the events of one status or account.
 *
 * ```ts
 * @OnRtSmsStatus('delivered')
 * async onDelivered(event: RtSmsStatusEvent) { … }
 * ```
 * This is a typed `@OnEvent`. The method can be asynchronous, and may be called again for the same `event.id`, see the
 * guarantees.
 */
export function OnRtSmsStatus(status?: SmsStatus, { account }: { account?: string } = {}) {
  // Generic, because the type of a descriptor is invariant, and a method that returns a promise has to be accepted.
  return <T extends (event: RtSmsStatusEvent) => unknown>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<T>,
  ): void => {
    // Without this option Nest logs an error and drops it. The publisher counts errors and, with a durable engine, retries.
    const listen = OnEvent(status ? `${RtSmsEvents.status}.${status}` : RtSmsEvents.status, { suppressErrors: false });
    if (account === undefined) {
      listen(target, key, descriptor);
      return;
    }
    // A separate listener next to the method, because two such decorators on one method filter by different accounts.
    const name = `${String(key)} of ${account} for ${status ?? 'any status'}`;
    const value = function (
      this: Record<string | symbol, (event: RtSmsStatusEvent) => unknown>,
      event: RtSmsStatusEvent,
    ) {
      return event.account === account ? this[key]!(event) : undefined;
    };
    Object.defineProperty(target, name, { value, configurable: true });
    listen(target, name, { value });
  };
}
