import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import { BullBoardModule, InjectBullBoard, type BullBoardModuleOptions } from '@bull-board/nestjs';
import {
  Inject,
  Injectable,
  Module,
  type DynamicModule,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import { createPostgresBackend, createRedisBackend, Queue } from 'bullmq';
import { rtSmsQueueNames } from 'nestjs-rt-sms-bullmq';
import { QUEUE_NAMES, QUEUE_STATES, Queues, type QueueCounts } from './queues.js';
import { Store } from './store.js';

/** Longest time that the page waits for the counts. */
const ANSWER_MS = 2_000;

@Injectable()
export class BullQueues extends Queues implements OnModuleInit, OnApplicationShutdown {
  private readonly queues: Queue[];

  constructor(
    @Inject(Store) { queue }: Store,
    @InjectBullBoard() private readonly board: ReturnType<typeof createBullBoard>,
  ) {
    super();
    const [connection, backend] =
      queue && 'postgres' in queue
        ? [{ connectionString: queue.postgres, max: 2, schema: 'bullmq' }, createPostgresBackend]
        : [{ url: queue?.connection, maxRetriesPerRequest: 1 }, createRedisBackend];
    const names = rtSmsQueueNames();
    this.queues = QUEUE_NAMES.map((name) => {
      const made = new Queue(names[name], { connection: connection as object }, backend as never);
      // The engine uses the same store and logs its errors.
      return made.on('error', () => undefined);
    });
  }

  onModuleInit(): void {
    for (const queue of this.queues) {
      // Read-only: the engine cannot handle jobs that are retried by hand.
      const adapter = new BullMQAdapter(queue, { readOnlyMode: true });
      adapter.setFormatter('data', ({ message, ...data }: { message?: string }) =>
        message === undefined ? data : { message: '(number and text, until it is sent)', ...data },
      );
      this.board.addQueue(adapter);
    }
  }

  async counts(): Promise<QueueCounts[] | undefined> {
    const counts = Promise.all(
      this.queues.map(async (queue, index) => ({
        name: QUEUE_NAMES[index]!,
        ...(await queue.getJobCounts(...QUEUE_STATES)),
      })),
    );
    const late = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), ANSWER_MS).unref());
    return Promise.race([counts, late]).catch(() => undefined);
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.queues.map((queue) => queue.close().catch(() => undefined)));
  }
}

/** Serves Bull Board under `/queues`, with a durable engine. */
@Module({})
export class QueuesModule {
  static forRoot(store: Store): DynamicModule {
    return {
      module: QueuesModule,
      imports: [
        BullBoardModule.forRoot({
          route: '/queues',
          // Its types come from another copy of the API if the two packages differ in version.
          adapter: ExpressAdapter as unknown as BullBoardModuleOptions['adapter'],
          boardOptions: { uiConfig: { boardTitle: 'nestjs-rt-sms' } },
        }),
      ],
      providers: [
        { provide: Store, useValue: store },
        { provide: Queues, useClass: BullQueues },
      ],
      exports: [Queues],
    };
  }
}
