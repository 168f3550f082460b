import { fateOf, uidsOf } from './random.js';

describe('uidsOf', () => {
  it('gives the same uids for the same seed and others for another', () => {
    const [one, again, other] = [uidsOf(7), uidsOf(7), uidsOf(8)];
    const uids = [one(), one(), one()];
    expect([again(), again(), again()]).toEqual(uids);
    expect(uids).not.toContain(other());
  });

  it('never repeats within 200 000 and keeps to the mask', () => {
    const next = uidsOf(1);
    const uids = Array.from({ length: 200_000 }, next);
    expect(new Set(uids).size).toBe(uids.length);
    expect(uids.filter((uid) => !/^message-id-[A-Za-z0-9]{12}$/.test(uid))).toEqual([]);
  });
});

describe('fateOf', () => {
  const odds = { loss: 0.2, duplicate: 0.5, reorder: 0.1 };

  it('depends on the seed and the two ordinals only', () => {
    expect(fateOf(1, 5, 1, odds)).toEqual(fateOf(1, 5, 1, odds));
    const fates = Array.from({ length: 100 }, (_, n) => fateOf(1, n, 0, odds));
    expect(Array.from({ length: 100 }, (_, n) => fateOf(2, n, 0, odds))).not.toEqual(fates);
    expect(Array.from({ length: 100 }, (_, n) => fateOf(1, n, 1, odds))).not.toEqual(fates);
  });

  it('is not changed in one respect by the odds of another', () => {
    const lostWith = (duplicate: number) =>
      Array.from({ length: 100 }, (_, n) => fateOf(1, n, 0, { ...odds, duplicate }).lost);
    expect(lostWith(1)).toEqual(lostWith(0));
  });

  it('keeps to the odds', () => {
    const fates = Array.from({ length: 20_000 }, (_, n) => fateOf(3, n, n % 2, odds));
    const share = (key: 'lost' | 'doubled' | 'reordered') => fates.filter((fate) => fate[key]).length / fates.length;
    expect(share('lost')).toBeCloseTo(0.2, 1);
    expect(share('doubled')).toBeCloseTo(0.5, 1);
    expect(share('reordered')).toBeCloseTo(0.1, 1);
  });

  it('is certain at 0 and 1', () => {
    const fates = (odd: number) =>
      Array.from({ length: 1_000 }, (_, n) => fateOf(3, n, 0, { loss: odd, duplicate: odd, reorder: odd }));
    expect(fates(0).some((fate) => fate.lost || fate.doubled || fate.reordered)).toBe(false);
    expect(fates(1).every((fate) => fate.lost && fate.doubled && fate.reordered)).toBe(true);
  });
});
