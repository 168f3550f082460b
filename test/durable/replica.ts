import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { Module, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitter2, EventEmitterModule } from '@nestjs/event-emitter';
import {
  RtSmsModule,
  RtSmsService,
  type EngineHost,
  type EnqueueOptions,
  type RtSmsOptions,
  type SmsEngineFactory,
} from 'nestjs-rt-sms';
import { bullMq, type BullMqOptions } from 'nestjs-rt-sms-bullmq';
import type { Service } from './services.js';

export const SECRET = 'a-secret-of-sixteen';

/** Settings of a replica, which must survive JSON. */
export interface ReplicaSetting {
  gateway: { login: string; password: string; url: string };
  store: Service['options'];
  /** Options of the engine. */
  engine?: Omit<BullMqOptions, 'connection' | 'postgres'>;
  /** Options of the module. */
  options?: Partial<RtSmsOptions>;
  /** File with the password, in place of that of `gateway`. */
  passwordFile?: string;
  /** True for a bare BullMQ worker that only POSTs, without the engine's protocol. */
  bare?: boolean;
  /** Signal that the replica gets as soon as it has fetched a message. */
  signalBeforeMark?: 'SIGKILL' | 'SIGSTOP';
  /** Name of the event whose handlers never settle. */
  hanging?: string;
  /** True to end at a signal, as an application with `enableShutdownHooks()`. */
  shutdownHooks?: boolean;
  /** Milliseconds by which the clock of a separate process is ahead. */
  clockShiftMs?: number;
}

export interface ReplicaEvent {
  event: string;
  id: string;
  uid?: string | undefined;
  ref?: string | undefined;
  status?: string | undefined;
  final?: boolean | undefined;
}

/** Options of all messages of one call; a time to live, because a date must not be that of another clock. */
export type ReplicaEnqueueOptions = Pick<EnqueueOptions, 'delayMs'> & { expiresInMs?: number; overdueAfterMs?: number };

export interface RunningReplica {
  url: string;
  enqueue(ids: string[], options?: ReplicaEnqueueOptions): Promise<unknown>;
  /** Ends it gracefully, as a deployment does. */
  end(): Promise<unknown>;
}

const NAMES = ['accepted', 'refused', 'outcome-unknown', 'expired', 'cancelled', 'unresolved', 'overdue', 'status'];

/** Starts one replica of an application; its handlers end when `tell` has settled. */
export async function startReplica(
  { gateway, store, engine, options, passwordFile, signalBeforeMark, hanging, shutdownHooks }: ReplicaSetting,
  tell: (event: ReplicaEvent) => unknown,
  logger: LoggerService | false = false,
): Promise<RunningReplica> {
  const given = bullMq({ ...store, ...engine });
  // The permit of the rate is acquired after the job is fetched, and before anything is marked.
  const signalled: SmsEngineFactory = (host) => {
    let isSignalled = false;
    const acquirePermit: EngineHost['acquirePermit'] = (go) => {
      // Once: a process that goes on must be able to end.
      if (!isSignalled) process.kill(process.pid, signalBeforeMark);
      isSignalled = true;
      return host.acquirePermit(go);
    };
    return given(Object.assign(Object.create(host) as EngineHost, { acquirePermit }));
  };
  @Module({
    imports: [
      EventEmitterModule.forRoot(),
      RtSmsModule.forRoot({
        ...gateway,
        ...(passwordFile === undefined ? {} : { password: async () => readFile(passwordFile, 'utf8') }),
        shortcode: 'SHOP',
        callback: { secrets: SECRET },
        engine: signalBeforeMark ? signalled : given,
        ...options,
      }),
    ],
  })
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger });
  if (shutdownHooks) app.enableShutdownHooks();
  const emitter = app.get(EventEmitter2);
  for (const name of NAMES) {
    const handle = async ({ id, uid, ref, status, final }: ReplicaEvent) => {
      await tell({ event: name, id, uid, ref, status, final });
      if (name === hanging) await new Promise(() => undefined);
    };
    emitter.on(`rt-sms.${name}`, (event: ReplicaEvent): unknown => handle(event));
  }
  await app.listen(0, '127.0.0.1');
  const sms = app.get(RtSmsService);
  return {
    url: await app.getUrl(),
    enqueue: (ids, { expiresInMs, overdueAfterMs, ...more } = {}) => {
      const expiresAt = expiresInMs === undefined ? {} : { expiresAt: new Date(Date.now() + expiresInMs) };
      const overdue = overdueAfterMs === undefined ? {} : { overdueAfterMs };
      const messageOf = (id: string) => ({ msisdn: '79270000001', text: id, ref: id, ...overdue });
      return sms.enqueueMany(ids.map((id) => ({ message: messageOf(id), id, ...expiresAt, ...more })));
    },
    end: () => app.close(),
  };
}
