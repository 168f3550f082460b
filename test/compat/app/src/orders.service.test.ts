import { EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import { RtSmsRecorder } from 'nestjs-rt-sms/testing';
import { OrdersService } from './orders.service.js';

it('tells the customer that the order has been shipped, and learns that the message came', async () => {
  const sms = new RtSmsRecorder();
  const module = await Test.createTestingModule({
    imports: [EventEmitterModule.forRoot()],
    providers: [OrdersService, ...sms.providers],
  }).compile();
  await module.init();
  const orders = module.get(OrdersService);
  const uid = await orders.shipped('+7 927 000-00-01', '42');
  expect(sms.sent).toMatchObject([{ msisdn: '79270000001', text: 'Заказ 42 в пути' }]);
  await sms.emitStatus(uid, 'delivered');
  expect(orders.delivered).toEqual(['42 by callback']);
  await module.close();
});
