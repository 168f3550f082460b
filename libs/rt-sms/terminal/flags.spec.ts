import { HELP, readFlags } from './flags.js';

const complaint = (...args: string[]) => {
  try {
    readFlags(args);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('was accepted');
};

it('takes a command, its arguments and its flags, in any order', () => {
  const wishes = readFlags(['--json', 'bulk', '--results=a.csv', 'm.csv', '--skip-invalid', '--shortcode', 'SHOP']);
  expect(wishes).toMatchObject({ command: 'bulk', args: ['m.csv'] });
  expect(wishes.flag('results')).toBe('a.csv');
  expect(wishes.flag('shortcode')).toBe('SHOP');
  expect(wishes.has('json') && wishes.has('skip-invalid')).toBe(true);
  expect(wishes.has('resend-unknown')).toBe(false);
  expect(readFlags(['send', '+7 927 000-00-01', '--', '-5% today']).args).toEqual(['+7 927 000-00-01', '-5% today']);
});

it.each([
  [[], 'there is no command\nThe commands are send, status, bulk, doctor, secret'],
  [['sned'], 'there is no sned, maybe send?'],
  [['bluk', 'm.csv'], 'there is no bluk, maybe bulk?'],
  [['deploy'], 'there is no deploy\nThe commands are'],
  [['bulk', 'm.csv', '--result', 'x'], 'there is no --result, maybe --results or --resend-unknown?'],
  [['bulk', 'm.csv', '--dryrun'], 'there is no --dryrun, maybe --dry-run?'],
  [['bulk', 'm.csv', '--colour'], 'there is no --colour\nThe flags of bulk are --shortcode, --results, --encoding,'],
  [['doctor', '-v'], 'there is no -v'],
  [['doctor', '--env-file', 'x'], 'there is no --env-file, maybe --env?'],
  [['send', '7927', 'Hi', '--results', 'x'], '--results is for bulk'],
  [['status', 'x', '--shortcode', 'x'], '--shortcode is for send and bulk and doctor'],
  [['bulk', 'm.csv', '--results'], '--results needs a value: --results FILE'],
  [['bulk', 'm.csv', '--results', '--json'], '--results needs a value'],
  [['bulk', 'm.csv', '--json=yes'], '--json takes no value'],
  [['send', '79270000001'], 'it is send NUMBER TEXT, not 1 arguments; put the text in quotes'],
  [['send', '79270000001', 'Hello', 'Ivan'], 'it is send NUMBER TEXT, not 3 arguments'],
  [['bulk'], 'it is bulk FILE.csv, not 0 arguments'],
  [['doctor', 'who'], 'it is doctor, not 1 arguments'],
])('says what is wrong with %j, and what is accepted', (args, problem) => {
  expect(complaint(...args)).toContain(problem);
});

it('says all that is wrong at once', () => {
  expect(complaint('bulk', '--josn', '--results').split('\n')).toEqual([
    'there is no --josn, maybe --json?',
    '--results needs a value: --results FILE',
    'it is bulk FILE.csv, not 0 arguments',
    expect.stringContaining('The flags of bulk are'),
  ]);
});

it('explains each command and each flag in a line', () => {
  for (const what of ['send NUMBER TEXT', 'bulk FILE.csv', 'doctor', '--results FILE', '--json', '--help', '--version'])
    expect(HELP).toContain(`\n  ${what} `);
  expect(Math.max(...HELP.split('\n').map((line) => line.length))).toBeLessThan(125);
});
