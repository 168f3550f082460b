import { drawCallbackFaults, uidsOf } from './random.js';

describe('uidsOf', () => {
  it('returns the same uids for the same seed and different ones for another', () => {
    const [one, again, other] = [uidsOf(7), uidsOf(7), uidsOf(8)];
    const uids = [one(), one(), one()];
    expect([again(), again(), again()]).toEqual(uids);
    expect(uids).not.toContain(other());
  });

  it('does not repeat within 200 000 and keeps the format', () => {
    const next = uidsOf(1);
    const uids = Array.from({ length: 200_000 }, next);
    expect(new Set(uids).size).toBe(uids.length);
    expect(uids.filter((uid) => !/^message-id-[A-Za-z0-9]{12}$/.test(uid))).toEqual([]);
  });
});

describe('drawCallbackFaults', () => {
  const odds = { loss: 0.2, duplicate: 0.5, reorder: 0.1 };

  it('depends on the seed and the two ordinals only', () => {
    expect(drawCallbackFaults(1, 5, 1, odds)).toEqual(drawCallbackFaults(1, 5, 1, odds));
    const drawn = Array.from({ length: 100 }, (_, n) => drawCallbackFaults(1, n, 0, odds));
    expect(Array.from({ length: 100 }, (_, n) => drawCallbackFaults(2, n, 0, odds))).not.toEqual(drawn);
    expect(Array.from({ length: 100 }, (_, n) => drawCallbackFaults(1, n, 1, odds))).not.toEqual(drawn);
  });

  it('draws each fault independently of the odds of the others', () => {
    const lostWith = (duplicate: number) =>
      Array.from({ length: 100 }, (_, n) => drawCallbackFaults(1, n, 0, { ...odds, duplicate }).lost);
    expect(lostWith(1)).toEqual(lostWith(0));
  });

  it('matches the odds', () => {
    const drawn = Array.from({ length: 20_000 }, (_, n) => drawCallbackFaults(3, n, n % 2, odds));
    const share = (key: 'lost' | 'doubled' | 'reordered') =>
      drawn.filter((faults) => faults[key]).length / drawn.length;
    expect(share('lost')).toBeCloseTo(0.2, 1);
    expect(share('doubled')).toBeCloseTo(0.5, 1);
    expect(share('reordered')).toBeCloseTo(0.1, 1);
  });

  it('is certain at 0 and 1', () => {
    const drawn = (odd: number) =>
      Array.from({ length: 1_000 }, (_, n) => drawCallbackFaults(3, n, 0, { loss: odd, duplicate: odd, reorder: odd }));
    expect(drawn(0).some((faults) => faults.lost || faults.doubled || faults.reordered)).toBe(false);
    expect(drawn(1).every((faults) => faults.lost && faults.doubled && faults.reordered)).toBe(true);
  });
});
