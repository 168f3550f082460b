// node --import ./test/child/clock.mjs child.ts: a process whose clock is CLOCK_SHIFT_MS ahead, or behind if it is below 0.
const shift = Number(process.env.CLOCK_SHIFT_MS ?? 0);
const RealDate = Date;
const { now } = Date;

if (shift !== 0) {
  Date.now = () => now() + shift;
  globalThis.Date = new Proxy(RealDate, {
    construct: (date, values, target) => Reflect.construct(date, values.length > 0 ? values : [Date.now()], target),
    apply: () => new Date().toString(),
  });
}
