import { setTimeout as pause } from 'node:timers/promises';
import type { RtSmsSimulator, RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { AppModule } from '../../apps/sample/src/app.module.js';
import type { BulkProgress, BulkRow } from '../../apps/sample/src/bulk/bulk.js';
import { InMemoryJournal } from '../../apps/sample/src/messages/in-memory-journal.js';
import { MessageJournal, type NewMessage } from '../../apps/sample/src/messages/message-journal.js';
import type { Message } from '../../apps/sample/src/messages/message.dto.js';
import { start } from '../platforms.js';
import { gatewayInEnvironment, SECRET } from './environment.js';

const ROWS = Array.from({ length: 100 }, (_, n) => `${79_270_000_000 + n};Row ${n}`).join('\n');

describe('a file of messages', () => {
  async function startSample(options: RtSmsSimulatorOptions = {}, journal: MessageJournal = new InMemoryJournal()) {
    const gateway: RtSmsSimulator = await gatewayInEnvironment(options);
    const { url } = await start(
      'express',
      { imports: [AppModule] },
      () => undefined,
      (builder) => builder.overrideProvider(MessageJournal).useValue(journal),
    );
    gateway.callTo(`${url}/rt-sms/callback/${SECRET}`);
    const post = async (path: string, body: string, type = 'text/csv') => {
      const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': type }, body });
      return { status: response.status, body: (await response.json()) as BulkProgress & Record<string, unknown> };
    };
    /** Resolves with the first progress event that passes `test`. */
    const progress = async (id: string, test: (progress: BulkProgress) => boolean): Promise<BulkProgress> => {
      const aborting = new AbortController();
      const { body } = await fetch(`${url}/bulk/${id}/events`, { signal: aborting.signal });
      let received = '';
      for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
        received += chunk;
        for (const [, data = ''] of received.matchAll(/^data: (.*)\n/gm)) {
          const told = JSON.parse(data) as BulkProgress;
          if (!test(told)) continue;
          aborting.abort();
          return told;
        }
      }
      throw new Error(`The events ended: ${received}`);
    };
    const rows = async (id: string, query = '') =>
      (await (await fetch(`${url}/bulk/${id}/rows?${query}`)).json()) as { total: number; rows: BulkRow[] };
    return { gateway, url, post, progress, rows };
  }

  it('is checked as a whole, sent on request, and tracked', async () => {
    const { gateway, url, post, progress, rows } = await startSample();
    const { status, body } = await post('/bulk?shortcode=MINE', `${ROWS}\n=1+1;formula\n79270000100;" "\n`);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      state: 'ready',
      rows: 102,
      counts: { ready: 100, wrong: 2 },
      segments: 100,
      delimiter: ';',
    });
    expect(gateway.requests.post).toBe(0);
    const { id } = body;
    await post(`/bulk/${id}/start`, '');
    await progress(id, ({ state }) => state === 'done');
    expect(gateway.requests.post).toBe(100);
    expect(new Set(gateway.messages.map(({ text, shortcode }) => `${text} ${shortcode}`)).size).toBe(100);
    expect(gateway.messages[0]!.shortcode).toBe('MINE');

    await gateway.report(gateway.messages[7]!.uid, 'rejected', { err: '11' });
    await progress(id, ({ counts }) => counts.rejected === 1);
    await expect(rows(id, 'status=rejected')).resolves.toMatchObject({
      total: 1,
      rows: [{ uid: gateway.messages[7]!.uid, errorCode: '11', msisdn: gateway.messages[7]!.msisdn }],
    });
    await expect(rows(id, 'from=98&limit=2')).resolves.toMatchObject({ total: 102, rows: [{ row: 99 }, { row: 100 }] });
    const results = await (await fetch(`${url}/bulk/${id}/results.csv`)).text();
    expect(results).toMatch(/^101;'=1\+1;wrong;;;not_sent;/m);
    expect(results).toMatch(/^102;79270000100;wrong;;;not_sent;"?text must be/m);
    expect(results).toMatch(new RegExp(`^\\d+;\\d+;rejected;${gateway.messages[7]!.uid};11;;\r$`, 'm'));
  });

  it('stops on request: messages in flight settle, the rest stays unsent', async () => {
    const { gateway, post, progress } = await startSample({ latencyMs: 300 });
    const { id } = (await post('/bulk', ROWS)).body;
    const seen = gateway.waitForMessage(({ text }) => text === 'Row 20');
    await post(`/bulk/${id}/start`, '');
    await seen;
    await post(`/bulk/${id}/stop`, '');
    const { counts } = await progress(id, ({ state }) => state === 'stopped');
    expect(counts.sending ?? 0).toBe(0);
    expect(counts.ready).toBeGreaterThan(50);
    expect(counts.accepted).toBe(gateway.messages.length);
    expect((counts.accepted ?? 0) + (counts.refused ?? 0) + (counts.ready ?? 0)).toBe(100);
  });

  it('does not leave a message as sending when it is stopped before its turn', async () => {
    // So slow that the next message is always being written when sending stops.
    class SlowJournal extends InMemoryJournal {
      override async beginMany(messages: readonly NewMessage[]): Promise<Message[]> {
        const begun = await super.beginMany(messages);
        await pause(200);
        return begun;
      }
    }
    const journal = new SlowJournal();
    const { gateway, post, progress } = await startSample({}, journal);
    const { id } = (await post('/bulk', ROWS)).body;
    const seen = gateway.waitForMessage(({ text }) => text === 'Row 3');
    // Two clicks on the button send the file once.
    await Promise.all([post(`/bulk/${id}/start`, ''), post(`/bulk/${id}/start`, '')]);
    await seen;
    await post(`/bulk/${id}/stop`, '');
    const { counts } = await progress(id, ({ counts }) => counts.refused === 1);
    expect(counts).toMatchObject({ sending: 0, accepted: gateway.messages.length });
    expect(new Set(gateway.messages.map(({ text }) => text)).size).toBe(gateway.messages.length);
    const [last] = await journal.list(1);
    expect(last).toMatchObject({ status: 'refused', error: { code: 'RT_SMS_ABORTED', outcome: 'not_sent' } });
  });

  it('stops with the reason if the gateway rejects the account', async () => {
    const { gateway, post, progress } = await startSample();
    gateway.nextSend('wrong_credentials', Infinity);
    const { id } = (await post('/bulk', ROWS)).body;
    await post(`/bulk/${id}/start`, '');
    const { counts, error } = await progress(id, ({ state }) => state === 'stopped');
    expect(error).toMatchObject({ code: 'RT_SMS_AUTH' });
    expect(counts.sending ?? 0).toBe(0);
    expect(counts.ready).toBeGreaterThan(50);
    expect(gateway.messages).toEqual([]);
  });

  it('reads a table of a spreadsheet, and says of a bad row what the terminal says', async () => {
    const { post, rows } = await startSample();
    const table = [
      'sep=;',
      'Телефон;Текст',
      '="79270000001";Hello',
      '7,927E+10;Hello',
      '8 (495) 123-45-67;Hello',
      '79270000004;Hello; Ivan',
      '79270000005;#ИМЯ?',
    ];
    const { body } = await post('/bulk', table.join('\r\n'));
    expect(body).toMatchObject({ rows: 5, counts: { ready: 1, wrong: 4 }, first: [{ row: 2, msisdn: '79270000001' }] });
    const wrong = (await rows(body.id, 'status=wrong')).rows.map(
      ({ row, problem }) => `${row} ${problem!.field} ${problem!.message}`,
    );
    expect(wrong).toEqual([
      expect.stringMatching(/^3 msisdn is in scientific notation, and the spreadsheet has rounded this number/),
      expect.stringMatching(/^4 msisdn can be read two ways, as \+7 495 … \(Russia\) and as \+84 95… \(Vietnam\)/),
      '5 columns has 3 cells, not 2: a text with ; in it needs quotes',
      '6 text is a spreadsheet error: correct the cell and save the file again',
    ]);
  });

  it('rejects an unreadable file, and names the row', async () => {
    const { url, post } = await startSample();
    await expect(post('/bulk', '79270000001;a\n79270000002;"b')).resolves.toMatchObject({
      status: 422,
      body: { code: 'CSV', problem: 'quote', row: 2, message: expect.stringMatching(/^Row 2: a quote/) },
    });
    await expect(post('/bulk', '{}', 'application/json')).resolves.toMatchObject({ status: 415 });
    for (const path of ['', '/rows', '/events', '/results.csv'])
      expect((await fetch(`${url}/bulk/none${path}`)).status).toBe(404);
    await expect(post('/bulk/none/start', '')).resolves.toMatchObject({ status: 404 });
  });
});
