// An application that ends while its sends are in flight: by a signal, or, with the argument `close`, by app.close().
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule, RtSmsService, type RtSmsError } from 'nestjs-rt-sms';

const [url = '', mode] = process.argv.slice(2);

@Module({
  imports: [
    EventEmitterModule.forRoot(),
    RtSmsModule.forRoot({
      login: 'shop',
      password: 'secret',
      shortcode: 'SHOP',
      url,
      connections: 2,
      rate: { perSecond: 3 },
      callback: { secrets: 'a-secret-of-sixteen' },
    }),
  ],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
app.enableShutdownHooks();
const sms = app.get(RtSmsService);
for (const text of ['slow', 'never', 'queued', 'paced']) {
  sms.send({ msisdn: '79270000001', text }).then(
    () => process.stdout.write(`${text} sent\n`),
    ({ name, outcome }: RtSmsError) => process.stdout.write(`${text} ${outcome} ${name}\n`),
  );
}
process.once('message', () => {
  process.disconnect();
  if (mode === 'close') void app.close();
});
