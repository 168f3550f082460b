import { Schedule } from './schedule.js';

describe('Schedule', () => {
  it('runs tasks by due time, those of one delay in the order they were added', async () => {
    const schedule = new Schedule();
    const ran: string[] = [];
    await new Promise<void>((resolve) => {
      schedule.after(60, () => resolve());
      schedule.after(20, () => ran.push('later'));
      schedule.after(1, () => ran.push('first'));
      schedule.after(1, () => ran.push('second'));
    });
    expect(ran).toEqual(['first', 'second', 'later']);
  });

  it('accepts 100 000 tasks, also from within a task', async () => {
    const schedule = new Schedule();
    let ran = 0;
    await new Promise<void>((resolve) => {
      const done = () => {
        ran += 1;
        if (ran === 200_000) resolve();
      };
      for (let n = 0; n < 100_000; n++) {
        schedule.after(5, () => {
          done();
          schedule.after(5, done);
        });
      }
    });
    expect(ran).toBe(200_000);
  });

  it('does not run a task after close, even if it is due at the same moment', async () => {
    const schedule = new Schedule();
    const ran: string[] = [];
    await new Promise<void>((resolve) => {
      schedule.after(1, () => {
        ran.push('closing');
        schedule.close();
        setTimeout(resolve, 30);
      });
      schedule.after(1, () => ran.push('too late'));
      schedule.after(10, () => ran.push('too late'));
    });
    schedule.after(0, () => ran.push('too late'));
    expect(ran).toEqual(['closing']);
  });
});
