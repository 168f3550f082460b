import type { Logger } from '@nestjs/common';

/** A module may send while the application starts. */
const GRACE_MS = 3_000;

/**
 * Warns once of an application that uses the account and is never initialised: without its listeners nothing is followed,
 * nothing queued is sent, and no event is emitted.
 */
export class BootstrapWarning {
  private timer: NodeJS.Timeout | undefined;
  private settled = false;

  constructor(
    ready: Promise<void>,
    private readonly logger: Logger,
  ) {
    const close = () => this.close();
    ready.then(close, close);
  }

  /** Called whenever the application hands over a message, or waits for one. */
  onUse(): void {
    if (!this.settled) this.timer ??= setTimeout(() => this.warn(), GRACE_MS).unref();
  }

  close(): void {
    this.settled = true;
    clearTimeout(this.timer);
  }

  private warn(): void {
    this.settled = true;
    this.logger.warn(
      'The application is not initialised: messages are not followed, queued messages are not sent and no event is emitted. ' +
        'Call app.init() or app.listen(), in a test await module.init(); compile() and startAllMicroservices() alone do not initialise it',
    );
  }
}
