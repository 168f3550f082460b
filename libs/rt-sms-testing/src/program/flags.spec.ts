import { HELP, readFlags } from './flags.js';

const complaint = (args: string[], env = {}) => {
  try {
    readFlags(args, env);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('was accepted');
};

it('listens on 4010 with an inbox, if nothing else is said', () => {
  expect(readFlags([], {})).toEqual({
    options: { port: 4010, inbox: true },
    script: undefined,
    json: false,
    help: false,
    numbers: false,
  });
});

const ALL = {
  port: 0,
  host: '::1',
  login: 'me',
  password: '-x-',
  callbackUrl: 'http://127.0.0.1:3000/x?y=1',
  allowFrom: ['127.0.0.1', '::1'],
  shortcodes: ['SHOP', 'БАНК'],
  loss: 0.1,
  duplicate: 0.2,
  reorder: 1,
  latencyMs: 20,
  perSecond: 50,
  seed: 7,
  inbox: { hosts: ['localhost', 'sms.test'] },
  lifecycle: false,
};

it('takes every flag', () => {
  const args =
    '--port 0 --host ::1 --login me --password=-x- --callback-url http://127.0.0.1:3000/x?y=1 ' +
    '--allow-from 127.0.0.1,::1 --shortcodes SHOP,БАНК --loss 0.1 --duplicate 0.2 --reorder 1 --latency 20 --rate 50 ' +
    '--seed 7 --inbox-host localhost,sms.test --manual --json --script a.json';
  expect(readFlags(args.split(' '), {})).toMatchObject({ options: ALL, json: true, script: 'a.json' });
});

it('takes the same from the environment; what is empty or switched off counts as not set', () => {
  const env = {
    RT_SMS_SIM_PORT: '0',
    RT_SMS_SIM_HOST: '::1',
    RT_SMS_SIM_LOGIN: 'me',
    RT_SMS_SIM_PASSWORD: '-x-',
    RT_SMS_SIM_CALLBACK_URL: 'http://127.0.0.1:3000/x?y=1',
    RT_SMS_SIM_ALLOW_FROM: '127.0.0.1, ::1',
    RT_SMS_SIM_SHORTCODES: 'SHOP,БАНК',
    RT_SMS_SIM_LOSS: '0.1',
    RT_SMS_SIM_DUPLICATE: '0.2',
    RT_SMS_SIM_REORDER: '1',
    RT_SMS_SIM_LATENCY: '20',
    RT_SMS_SIM_RATE: '50',
    RT_SMS_SIM_SEED: '7',
    RT_SMS_SIM_INBOX_HOST: 'localhost,sms.test',
    RT_SMS_SIM_MANUAL: '1',
    RT_SMS_SIM_SCRIPT: '',
    RT_SMS_SIM_JSON: 'false',
    PATH: '/bin',
  };
  expect(readFlags([], env)).toMatchObject({ options: ALL, json: false, script: undefined });
  expect(readFlags(['--port', '5'], env).options.port).toBe(5);
  expect(readFlags(['--no-inbox'], env).options.inbox).toBe(false);
});

it.each([
  [['--prot', '5'], 'there is no --prot'],
  [['--callback', 'x'], 'there is no --callback, maybe --callback-url?'],
  [['-p', '5'], 'there is no -p'],
  [['4010'], '"4010" is no flag'],
  [['--port'], '--port needs a value: --port PORT'],
  [['--port', '--json'], '--port needs a value'],
  [['--json=yes'], '--json takes no value'],
  [['--port', '70000'], '--port must be a whole number from 0 to 65535, not "70000"'],
  [['--port', 'http'], '--port must be a whole number from 0 to 65535, not "http"'],
  [['--port='], '--port must be a whole number'],
  [['--loss', '30%'], '--loss must be a probability from 0 to 1, not "30%"'],
  [['--seed', '-1'], '--seed must be a whole number'],
  [['--latency', 'Infinity'], '--latency must be milliseconds, 0 or more'],
  [['--rate', '-5'], '--rate must be requests per second'],
  [['--allow-from', '127.0.0.1,me'], '--allow-from must be a list of IP addresses, not "127.0.0.1,me"'],
  [['--callback-url', 'localhost:3000'], '--callback-url must be an http or https URL'],
])('says what is wrong with %j', (args, problem) => {
  const said = complaint(args);
  expect(said).toContain(problem);
  expect(said).toContain('The flags are --port, --host');
});

it('names the variable that is wrong, and every problem at once', () => {
  const said = complaint(['--loss', '7'], { RT_SMS_SIM_SEED: 'x', RT_SMS_SIM_LOS: '1' });
  expect(said.split('\n')).toMatchObject([
    'there is no RT_SMS_SIM_LOS, maybe --loss?',
    'RT_SMS_SIM_SEED must be a whole number from 0 to 4294967295, not "x"',
    '--loss must be a probability from 0 to 1, not "7"',
    expect.stringContaining('The flags are'),
  ]);
});

it('never shows the password', () => {
  expect(complaint(['--password', 'hush', '--login', 'a:b'])).not.toContain('hush');
});

it('explains each flag in a line', () => {
  for (const flag of ['--port PORT', '--script FILE', '--inbox-host', '--json', '--numbers', '--help']) {
    expect(HELP).toContain(`  ${flag}`);
  }
  expect(Math.max(...HELP.split('\n').map((line) => line.length))).toBeLessThan(130);
});
