import { Observable, Subscriber, type Observer, type Operator, type Subscription, type TeardownLogic } from 'rxjs';

/**
 * An Observable that reports the exceptions of its subscribers. rxjs would throw them as uncaught exceptions, and one faulty
 * subscriber would end the process.
 */
export class SafeObservable<T> extends Observable<T> {
  constructor(
    subscribe: ((this: Observable<T>, subscriber: Subscriber<T>) => TeardownLogic) | undefined,
    private readonly report: (error: unknown) => void,
  ) {
    super(subscribe);
  }

  override lift<R>(operator?: Operator<T, R>): Observable<R> {
    const lifted = new SafeObservable<R>(undefined, this.report);
    return Object.assign(lifted, { source: this, operator });
  }

  override subscribe(observer?: Partial<Observer<T>> | ((value: T) => void) | null, ...rest: unknown[]): Subscription {
    if (observer instanceof Subscriber) return super.subscribe(observer);
    const [error, complete] = rest as [Observer<T>['error']?, Observer<T>['complete']?];
    const to: Partial<Observer<T>> = typeof observer === 'function' ? { next: observer } : (observer ?? {});
    const guard =
      <A extends unknown[]>(action: (...args: A) => void) =>
      (...args: A): void => {
        try {
          action(...args);
        } catch (thrown) {
          this.report(thrown);
        }
      };
    return super.subscribe({
      next: guard((value: T) => to.next?.(value)),
      error: guard((reason: unknown) => (to.error ? to.error(reason) : error ? error(reason) : this.report(reason))),
      complete: guard(() => (to.complete ? to.complete() : complete?.())),
    });
  }
}
