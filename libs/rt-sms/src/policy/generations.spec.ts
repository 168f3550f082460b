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

  it('forgets what was not used for the time, and what is deleted', () => {
    const kept = new Generations<number>(10);
    kept.set('a', 1);
    kept.set('b', 2);
    const now = performance.now();
    kept.forgetUnused(1_000, now + 1_000);
    expect(kept.get('a')).toBe(1);
    kept.forgetUnused(1_000, now + 1_999);
    expect(kept.get('a')).toBe(1);
    kept.forgetUnused(1_000, now + 2_000);
    expect([kept.get('a'), kept.get('b')]).toEqual([1, undefined]);
    kept.delete('a');
    expect(kept.get('a')).toBeUndefined();
  });

  it('keeps the entries used last if it has just made room for others', () => {
    const kept = new Generations<number>(10);
    const now = performance.now();
    for (let n = 1; n <= 11; n++) kept.set(`k${n}`, n);
    kept.forgetUnused(1_000, now + 500);
    for (let n = 2; n <= 11; n++) expect(kept.get(`k${n}`)).toBe(n);
  });
});
