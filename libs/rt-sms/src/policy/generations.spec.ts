import { Generations } from './generations.js';

describe('Generations', () => {
  it('keeps the entries used last, at most twice its size, whatever is added', () => {
    const kept = new Generations<number>(10);
    kept.set('often', 0);
    for (let n = 1; n <= 1_000; n++) {
      kept.set(`k${n}`, n);
      expect(kept.get('often')).toBe(0);
    }
    for (let n = 993; n <= 1_000; n++) expect(kept.get(`k${n}`)).toBe(n);
    for (let n = 1; n <= 980; n++) expect(kept.get(`k${n}`)).toBeUndefined();
  });

  it('forgets what was not used between two rotations, and what is deleted', () => {
    const kept = new Generations<number>(10);
    kept.set('a', 1);
    kept.set('b', 2);
    kept.rotate();
    expect(kept.get('a')).toBe(1);
    kept.rotate();
    expect([kept.get('a'), kept.get('b')]).toEqual([1, undefined]);
    kept.delete('a');
    expect(kept.get('a')).toBeUndefined();
  });
});
