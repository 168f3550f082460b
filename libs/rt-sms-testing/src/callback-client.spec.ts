import { Receiver } from '../test/support.js';
import { CallbackClient } from './callback-client.js';

let receiver: Receiver;
let client: CallbackClient;
afterEach(async () => {
  client.close();
  await receiver.close();
});

it('sends 50 at a time, the others in order as earlier ones finish', async () => {
  const answers: (() => void)[] = [];
  receiver = await Receiver.start((_, response) => answers.push(() => response.end()));
  client = new CallbackClient(10_000);
  const sent = Array.from({ length: 120 }, (_, n) => client.get(`${receiver.url}?n=${n}`));
  await receiver.count(50);
  for (let n = 0; n < 120; n++) {
    expect(receiver.seen.length).toBeLessThanOrEqual(50 + n);
    answers[n]?.();
    await receiver.count(Math.min(51 + n, 120));
  }
  expect(await Promise.all(sent)).toEqual(sent.map(() => ({ code: 200 })));
  const order = receiver.queries.map((query) => Number(query.get('n')));
  expect(order.slice(50)).toEqual(Array.from({ length: 70 }, (_, n) => n + 50));
});

it('settles the waiting ones when it is closed', async () => {
  receiver = await Receiver.start(() => undefined);
  client = new CallbackClient(10_000);
  const sent = Array.from({ length: 60 }, () => client.get(receiver.url));
  await receiver.count(50);
  client.close();
  expect(await Promise.all(sent)).toEqual(sent.map(() => ({ error: 'the simulator was closed' })));
  expect(await client.get(receiver.url)).toEqual({ error: 'the simulator was closed' });
  expect(receiver.seen).toHaveLength(50);
});
