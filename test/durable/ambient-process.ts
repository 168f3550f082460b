// The recipe of docs/transactions.md with `@nestjs-cls/transactional`, in a separate process, because Jest cannot load that
// library. Its argument is the URL of a PostgreSQL. Creates the order 1, and fails to create the order 2.
import 'reflect-metadata';
import { Global, Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { ClsPluginTransactional, Transactional, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { ClsModule, ClsService } from 'nestjs-cls';
import { RtSmsModule, RtSmsService } from 'nestjs-rt-sms';
import { bullMq, fromTypeOrm } from 'nestjs-rt-sms-bullmq';
import { DataSource } from 'typeorm';

const postgres = process.argv[2]!;
const source = await new DataSource({ type: 'postgres', url: postgres }).initialize();

@Global()
@Module({ providers: [{ provide: DataSource, useValue: source }], exports: [DataSource] })
class DatabaseModule {}

@Injectable()
class Orders {
  constructor(
    @Inject(TransactionHost) private readonly txHost: TransactionHost<TransactionalAdapterTypeOrm>,
    @Inject(RtSmsService) private readonly sms: RtSmsService,
  ) {}

  @Transactional()
  async create(id: string, phone: string, fails: boolean): Promise<void> {
    const manager = this.txHost.tx;
    await manager.query('INSERT INTO orders (id) VALUES ($1)', [id]);
    await this.sms.enqueue({ msisdn: phone, text: `Order ${id}` }, { id: `order-${id}`, tx: fromTypeOrm(manager) });
    if (fails) throw new Error('the order failed');
  }
}

const adapter = new TransactionalAdapterTypeOrm({ dataSourceToken: DataSource });
const account = { login: 'none', password: 'none', shortcode: 'SHOP', tracking: {} };
@Module({
  imports: [
    DatabaseModule,
    ClsModule.forRoot({
      global: true,
      plugins: [new ClsPluginTransactional({ imports: [DatabaseModule], adapter })],
    }),
    EventEmitterModule.forRoot(),
    RtSmsModule.forRoot({ ...account, engine: bullMq({ postgres, role: 'producer' }) }),
  ],
  providers: [Orders],
})
class ShopModule {}

const app = await NestFactory.createApplicationContext(ShopModule, { logger: ['error'] });
const create = (id: string, fails: boolean) =>
  app.get(ClsService).run(() => app.get(Orders).create(id, '+79271234567', fails));
await create('1', false);
await create('2', true).catch((error: Error) => process.stdout.write(error.message));
await app.close();
await source.destroy();
