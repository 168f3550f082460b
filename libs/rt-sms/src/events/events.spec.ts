import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import { Injectable, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { RtSmsEvents, RtSmsStatusEvent, type RtSmsOverdueEvent } from './events.js';
import { OnRtSmsOverdue, OnRtSmsStatus } from './on-status.js';

const statusEvent = (fields: Partial<RtSmsStatusEvent> = {}) =>
  new RtSmsStatusEvent({
    account: 'default',
    uid: 'message-id-VvkmLHkfhCX9',
    status: 'delivered',
    gatewayStatus: 'delivered',
    final: true,
    source: 'callback',
    confirmed: false,
    receivedAt: new Date(),
    ...fields,
  });

describe('RtSmsEvents', () => {
  it('has the names of the contract', () => {
    expect(RtSmsEvents).toEqual({
      status: 'rt-sms.status',
      accepted: 'rt-sms.accepted',
      refused: 'rt-sms.refused',
      outcomeUnknown: 'rt-sms.outcome-unknown',
      expired: 'rt-sms.expired',
      cancelled: 'rt-sms.cancelled',
      unresolved: 'rt-sms.unresolved',
      overdue: 'rt-sms.overdue',
    });
  });
});

describe('RtSmsStatusEvent', () => {
  it('has an id that consists of account, uid and status', () => {
    expect(statusEvent().id).toBe('default:message-id-VvkmLHkfhCX9:delivered');
    expect(statusEvent({ account: 'otp', status: 'rejected' }).id).toBe('otp:message-id-VvkmLHkfhCX9:rejected');
    expect(statusEvent({ status: 'unknown', gatewayStatus: 'sent' }).id).toBe(
      'default:message-id-VvkmLHkfhCX9:unknown:sent',
    );
  });

  it('cannot be changed by a handler', () => {
    const event = statusEvent();
    expect(() => Object.assign(event, { status: 'failed' })).toThrow(TypeError);
    expect(event.status).toBe('delivered');
  });

  it('is complete in JSON', () => {
    const receivedAt = new Date('2026-01-02T03:04:05Z');
    expect(JSON.parse(JSON.stringify(statusEvent({ receivedAt, parts: 2 })))).toEqual({
      id: 'default:message-id-VvkmLHkfhCX9:delivered',
      account: 'default',
      uid: 'message-id-VvkmLHkfhCX9',
      status: 'delivered',
      gatewayStatus: 'delivered',
      final: true,
      source: 'callback',
      confirmed: false,
      receivedAt: '2026-01-02T03:04:05.000Z',
      parts: 2,
    });
  });
});

describe('@OnRtSmsStatus', () => {
  /** Emits the events under both names, as the module does, and returns those that the listener received. */
  async function receivedBy(Listener: Type<{ received: string[] }>, ...events: RtSmsStatusEvent[]): Promise<string[]> {
    const module = await Test.createTestingModule({
      imports: [EventEmitterModule.forRoot()],
      providers: [Listener],
    }).compile();
    await module.init();
    const emitter = module.get(EventEmitter2);
    for (const event of events) {
      for (const name of [RtSmsEvents.status, `${RtSmsEvents.status}.${event.status}`]) {
        await Promise.all(emitter.listeners(name).map((listener) => listener(event) as unknown));
      }
    }
    const result = module.get(Listener).received;
    await module.close();
    return result;
  }

  const EVENTS = [
    statusEvent({ status: 'awaiting_report' }),
    statusEvent({ status: 'delivered' }),
    statusEvent({ status: 'delivered', account: 'otp' }),
    statusEvent({ status: 'failed', account: 'otp' }),
  ];
  const short = ({ account, status }: RtSmsStatusEvent) => `${account} ${status}`;

  it.each([
    ['every status of every account', OnRtSmsStatus(), EVENTS.map(short)],
    ['one status', OnRtSmsStatus('delivered'), ['default delivered', 'otp delivered']],
    ['one account', OnRtSmsStatus(undefined, { account: 'otp' }), ['otp delivered', 'otp failed']],
    ['one status of one account', OnRtSmsStatus('delivered', { account: 'otp' }), ['otp delivered']],
  ])('receives %s', async (_, decorator, expected) => {
    @Injectable()
    class Listener {
      received: string[] = [];
      @decorator
      on(event: RtSmsStatusEvent): void {
        this.received.push(short(event));
      }
    }
    expect(await receivedBy(Listener, ...EVENTS)).toEqual(expected);
  });

  it('can be used several times on a method, with different accounts', async () => {
    @Injectable()
    class Listener {
      received: string[] = [];
      @OnRtSmsStatus('delivered', { account: 'default' })
      @OnRtSmsStatus('failed', { account: 'otp' })
      @OnRtSmsStatus('awaiting_report')
      on(event: RtSmsStatusEvent): void {
        this.received.push(short(event));
      }
    }
    expect(await receivedBy(Listener, ...EVENTS)).toEqual([
      'default awaiting_report',
      'default delivered',
      'otp failed',
    ]);
  });

  it('calls the current method, with other decorators and in subclasses', async () => {
    const Loud = (_: object, __: string, descriptor: TypedPropertyDescriptor<(event: RtSmsStatusEvent) => void>) => {
      const method = descriptor.value!;
      descriptor.value = function (event) {
        method.call(this, event);
        method.call(this, event);
      };
    };
    class Base {
      received: string[] = [];
      @Loud
      @OnRtSmsStatus('failed', { account: 'otp' })
      on(event: RtSmsStatusEvent): void {
        this.received.push(short(event));
      }
    }
    @Injectable()
    class Listener extends Base {}
    expect(await receivedBy(Listener, ...EVENTS)).toEqual(['otp failed', 'otp failed']);
  });

  it('passes errors on to the publisher', async () => {
    @Injectable()
    class Listener {
      received: string[] = [];
      @OnRtSmsStatus('failed', { account: 'otp' })
      on(): void {
        throw new Error('boom');
      }
    }
    await expect(receivedBy(Listener, ...EVENTS)).rejects.toThrow('boom');
  });
});

describe('@OnRtSmsOverdue', () => {
  it('receives the events of every account, or of one, and passes errors on', async () => {
    @Injectable()
    class Listener {
      readonly received: string[] = [];
      @OnRtSmsOverdue()
      async all({ account }: RtSmsOverdueEvent): Promise<void> {
        this.received.push(`all ${account}`);
      }
      @OnRtSmsOverdue({ account: 'otp' })
      otp({ account }: RtSmsOverdueEvent): void {
        this.received.push(`otp ${account}`);
        throw new Error('boom');
      }
    }
    const module = await Test.createTestingModule({
      imports: [EventEmitterModule.forRoot()],
      providers: [Listener],
    }).compile();
    await module.init();
    const emitter = module.get(EventEmitter2);
    const event: RtSmsOverdueEvent = { account: 'default', uid: 'message-id-1', overdueAfterMs: 60_000 };
    await emitter.emitAsync('rt-sms.overdue', event);
    await expect(emitter.emitAsync('rt-sms.overdue', { ...event, account: 'otp' })).rejects.toThrow('boom');
    expect(module.get(Listener).received).toEqual(['all default', 'all otp', 'otp otp']);
    await module.close();
  });
});
