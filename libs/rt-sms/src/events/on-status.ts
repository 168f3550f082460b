import 'reflect-metadata';
import { OnEvent } from '@nestjs/event-emitter';
import type { SmsStatus } from '../message/status.js';
import { RtSmsEvents, type RtSmsStatusEvent } from './events.js';

/**
 * Calls the method for each `RtSmsStatusEvent`, or for those of one status or account.
 *
 * ```ts
 * @OnRtSmsStatus('delivered')
 * async onDelivered(event: RtSmsStatusEvent) { … }
 * ```
 * A typed `@OnEvent`. The method may be asynchronous and may be called again for the same `event.id`, see the guarantees.
 */
export function OnRtSmsStatus(status?: SmsStatus, { account }: { account?: string } = {}) {
  // Generic, for a descriptor's type is invariant: a method that returns a promise is to be taken, too.
  return <T extends (event: RtSmsStatusEvent) => unknown>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<T>,
  ): void => {
    // Nest would log and swallow a failure; it has to reach the publisher, which counts it and, with a durable engine, repeats.
    const listen = OnEvent(status ? `${RtSmsEvents.status}.${status}` : RtSmsEvents.status, { suppressErrors: false });
    if (account === undefined) {
      listen(target, key, descriptor);
      return;
    }
    // A listener of its own beside the method: of two such decorators on one method each has its own account.
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
