import { Progress } from './progress.js';

function screen(isTTY: boolean, columns = 80) {
  let text = '';
  const out = {
    isTTY,
    columns,
    write: (more: string) => {
      text += more;
      return true;
    },
  };
  return { out: out as unknown as NodeJS.WriteStream, text: () => text };
}

it('is a bar on a terminal, redrawn in place and never wider than the terminal', () => {
  const { out, text } = screen(true, 50);
  const progress = new Progress(10, 'm.csv', out);
  progress.show({ sent: 4, rejected: 1, not_sent: 0, unknown: 0 });
  progress.show({ sent: 5, rejected: 1, not_sent: 0, unknown: 0 });
  progress.show({ sent: 9, rejected: 1, not_sent: 0, unknown: 0 });
  progress.print('Stopping');
  progress.end();
  const [title, ...bars] = text().split(/\r/);
  expect(title).toBe('m.csv\n');
  expect(bars[0]).toMatch(/^\[#{10}-{10}\] 5\/10 {2}sent 4 {2}rejected 1/);
  // The second update came too soon after the first; the last one is always shown.
  expect(bars).toHaveLength(2);
  expect(bars[1]).toMatch(/^\[#{20}\] 10\/10 {2}sent 9/);
  for (const bar of bars) expect(bar.split('\x1b[K')[0]!.length).toBeLessThan(50);
  expect(text()).toMatch(/\nStopping\n$/);
});

it('is plain lines otherwise, one for every twentieth', () => {
  const { out, text } = screen(false);
  const progress = new Progress(1_000, 'm.csv', out);
  for (let sent = 1; sent <= 1_000; sent++) progress.show({ sent, not_sent: 0 });
  progress.end();
  const lines = text().split('\n');
  expect(lines).toHaveLength(22);
  expect(lines[1]).toMatch(/^\[#-{19}\] 50\/1000 {2}sent 50 {2}\d+\/s( {2}\d+:\d\d left)?$/);
  expect(lines[20]).toMatch(/^\[#{20}\] 1000\/1000 {2}sent 1000 {2}\d+\/s$/);
});
