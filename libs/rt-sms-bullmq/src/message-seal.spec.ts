import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { MessageSeal } from './message-seal.js';

const [OLD, NEW, STORE] = [randomBytes(32), randomBytes(48), randomBytes(32)];
const MESSAGE = { msisdn: '79270000001', shortcode: 'SHOP', text: 'Код 1234' };
const ABOUT = { id: 'order-1', expiresAt: 1_900_000_000_000 };

const sealOf = (...keys: Buffer[]) => new MessageSeal('default', keys, STORE);

/** Stores and opens a message; `change` is what happens to it in the store. */
function roundTrip(
  by: MessageSeal,
  reader = by,
  change: Partial<Record<'stored' | 'digest', string>> = {},
  about = ABOUT,
) {
  const stored = { stored: by.close(MESSAGE, ABOUT), digest: by.digest(MESSAGE), ...change };
  return reader.open(stored.stored, stored.digest, about);
}

describe('MessageSeal', () => {
  it('opens what it has stored, with and without keys', () => {
    expect(roundTrip(sealOf())).toEqual(MESSAGE);
    expect(roundTrip(sealOf(NEW))).toEqual(MESSAGE);
  });

  it('with a key, nothing of the message can be read, and no two values are equal', () => {
    const seal = sealOf(NEW);
    const [one, two] = [seal.close(MESSAGE, ABOUT), seal.close(MESSAGE, ABOUT)];
    expect(one).not.toBe(two);
    expect(Buffer.from(one.split('.')[1]!, 'base64url').toString()).not.toMatch(/7927|SHOP|1234/);
    expect(seal.digest(MESSAGE)).not.toMatch(/7927|SHOP|1234/);
  });

  it('keys rotate: a former key opens and compares, the first one writes', () => {
    const [former, current] = [sealOf(OLD), sealOf(NEW, OLD)];
    expect(roundTrip(former, current)).toEqual(MESSAGE);
    expect(current.matches(former.digest(MESSAGE), MESSAGE)).toBe(true);
    expect(current.matches(former.digest(MESSAGE), { ...MESSAGE, text: 'other' })).toBe(false);
    expect(roundTrip(current, former)).toBeUndefined();
    expect(former.matches(current.digest(MESSAGE), MESSAGE)).toBeUndefined();
    // A key that was removed before its messages were sent.
    expect(roundTrip(former, sealOf(NEW))).toBeUndefined();
  });

  it('a message without a seal is not opened by an account with keys', () => {
    expect(roundTrip(sealOf(), sealOf(NEW))).toBeUndefined();
    expect(roundTrip(sealOf(), sealOf(NEW), { digest: sealOf(NEW).digest(MESSAGE) })).toBeUndefined();
  });

  it('is bound to the account, the id and the expiry', () => {
    const seal = sealOf(NEW);
    expect(roundTrip(seal, new MessageSeal('other', [NEW], STORE))).toBeUndefined();
    expect(roundTrip(seal, seal, {}, { ...ABOUT, id: 'order-2' })).toBeUndefined();
    expect(roundTrip(seal, seal, {}, { ...ABOUT, expiresAt: ABOUT.expiresAt + 1 })).toBeUndefined();
    expect(seal.open(seal.close(MESSAGE, ABOUT), seal.digest(MESSAGE), { id: ABOUT.id })).toBeUndefined();
  });

  it('no changed character is opened', () => {
    const seal = sealOf(NEW);
    const stored = seal.close(MESSAGE, ABOUT);
    const at = fc.nat({ max: stored.length - 1 });
    fc.assert(
      fc.property(at, fc.constantFrom(...'Aa0_-.'), (index, char) => {
        const changed = stored.slice(0, index) + char + stored.slice(index + 1);
        const bytes = (value: string) => Buffer.from(value.slice(7), 'base64url').toString('hex');
        fc.pre(changed.slice(0, 7) !== stored.slice(0, 7) || bytes(changed) !== bytes(stored));
        expect(seal.open(changed, seal.digest(MESSAGE), ABOUT)).toBeUndefined();
      }),
    );
  });

  it('whatever lies in the store, it never throws', () => {
    const values = fc.oneof(
      fc.anything(),
      fc.json(),
      fc.array(fc.string(), { maxLength: 4 }).map((all) => JSON.stringify(all)),
    );
    fc.assert(
      fc.property(values, values, (stored, digest) => {
        for (const seal of [sealOf(), sealOf(NEW)]) expect(seal.open(stored, digest, ABOUT)).toBeUndefined();
      }),
    );
  });

  it('without keys a digest of another message is not accepted either', () => {
    const seal = sealOf();
    expect(roundTrip(seal, seal, { digest: seal.digest({ ...MESSAGE, text: 'other' }) })).toBeUndefined();
  });
});
