import { jest } from '@jest/globals';
import { WriteBatcher } from './write-batcher.js';

/** Writes that end when they are told to; a step is its own result, and one with `!` is none of company. */
function writes() {
  const written: string[][] = [];
  const ends: ((error?: Error) => void)[] = [];
  const write = (steps: string[]) =>
    new Promise<(string | undefined)[]>((resolve, reject) => {
      written.push(steps);
      ends.push((error) => {
        if (error) reject(error);
        else resolve(steps.map((step) => (step.endsWith('!') ? undefined : step)));
      });
    });
  const alone = (step: string) =>
    step === 'bad!' ? Promise.reject(new Error('bad')) : Promise.resolve(`${step} by itself`);
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { together: new WriteBatcher<string, string>(write, alone), written, ends, turn };
}

describe('steps that are asked for together', () => {
  it('are one write; those that come while it is under way are the next', async () => {
    const { together, written, ends, turn } = writes();
    const first = ['a', 'b'].map((step) => together.write(step));
    await turn();
    const later = ['c', 'd'].map((step) => together.write(step));
    await turn();
    expect(written).toEqual([['a', 'b']]);
    ends[0]!();
    await expect(Promise.all(first)).resolves.toEqual(['a', 'b']);
    await turn();
    expect(written).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
    ends[1]!();
    await expect(Promise.all(later)).resolves.toEqual(['c', 'd']);
  });

  it('have an end each: what was left is done by itself, and fails by itself', async () => {
    const { together, ends, turn } = writes();
    const all = Promise.allSettled(['a', 'left!', 'bad!', 'b'].map((step) => together.write(step)));
    await turn();
    ends[0]!();
    await expect(all).resolves.toMatchObject([
      { value: 'a' },
      { value: 'left! by itself' },
      { reason: { message: 'bad' } },
      { value: 'b' },
    ]);
  });

  it('are done one by one where the write failed, and the next ones go together again', async () => {
    const { together, ends, turn } = writes();
    const all = Promise.all(['a', 'b'].map((step) => together.write(step)));
    await turn();
    ends[0]!(new Error('the store went away'));
    await expect(all).resolves.toEqual(['a by itself', 'b by itself']);
    const next = together.write('c');
    await turn();
    ends[1]!();
    await expect(next).resolves.toBe('c');
  });

  it('do not wait for ever for a write that has no end', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
    const { together, ends, turn } = writes();
    const lost = together.write('a');
    await turn();
    const next = together.write('b');
    await jest.advanceTimersByTimeAsync(4_999);
    expect(ends).toHaveLength(1);
    await jest.advanceTimersByTimeAsync(1);
    await turn();
    ends[1]!();
    await expect(next).resolves.toBe('b');
    // Late, but it has an end.
    ends[0]!();
    await expect(lost).resolves.toBe('a');
    jest.useRealTimers();
  });

  it('are never more than a hundred in one write', async () => {
    const { together, written, ends, turn } = writes();
    const all = Promise.all(Array.from({ length: 150 }, (_, n) => together.write(String(n))));
    await turn();
    ends[0]!();
    await turn();
    ends[1]!();
    await all;
    expect(written.map(({ length }) => length)).toEqual([100, 50]);
  });
});
