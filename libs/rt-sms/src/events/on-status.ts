import 'reflect-metadata';
import { OnEvent } from '@nestjs/event-emitter';
import type { SmsStatus } from '../message/status.js';
import { RtSmsEvents, type RtSmsOverdueEvent, type RtSmsStatusEvent } from './events.js';

/** Generic, because the type of a descriptor is invariant, and a method that returns a promise has to be accepted. */
type EventDecorator<E> = <T extends (event: E) => unknown>(
  target: object,
  key: string | symbol,
  descriptor: TypedPropertyDescriptor<T>,
) => void;

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
export function OnRtSmsStatus(
  status?: SmsStatus,
  { account }: { account?: string } = {},
): EventDecorator<RtSmsStatusEvent> {
  return listener(status ? `${RtSmsEvents.status}.${status}` : RtSmsEvents.status, account);
}

/**
 * Calls the method for each `RtSmsOverdueEvent`, or only for those of one account: a message has no final status within its
 * `overdueAfterMs`.
 *
 * ```ts
 * @OnRtSmsOverdue()
 * async onOverdue({ ref }: RtSmsOverdueEvent) { … }
 * ```
 * This is a typed `@OnEvent`, like `@OnRtSmsStatus()`.
 */
export function OnRtSmsOverdue({ account }: { account?: string } = {}): EventDecorator<RtSmsOverdueEvent> {
  return listener(RtSmsEvents.overdue, account);
}

function listener(event: string, account: string | undefined): EventDecorator<never> {
  return (target, key, descriptor) => {
    // Without this option Nest logs an error and drops it. The publisher counts errors and, with a durable engine, retries.
    const listen = OnEvent(event, { suppressErrors: false });
    if (account === undefined) {
      listen(target, key, descriptor);
      return;
    }
    // A separate listener next to the method, because two such decorators on one method filter by different accounts.
    const name = `${String(key)} of ${account} for ${event}`;
    type Payload = RtSmsStatusEvent | RtSmsOverdueEvent;
    const value = function (this: Record<string | symbol, (payload: Payload) => unknown>, payload: Payload) {
      return payload.account === account ? this[key]!(payload) : undefined;
    };
    Object.defineProperty(target, name, { value, configurable: true });
    listen(target, name, { value });
  };
}
