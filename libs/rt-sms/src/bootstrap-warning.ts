import type { Logger } from '@nestjs/common';

/** Time in milliseconds for the start of the application, during which messages may be sent. */
const GRACE_MS = 3_000;

/**
 * Logs one warning if the application uses the account and is never initialised. Without its listeners messages are not
 * tracked, queued messages are not sent, and no events are emitted.
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

  /** Called when the application sends or enqueues a message, or waits for one. */
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
      'The application is not initialised: messages are not tracked, queued messages are not sent and no events are emitted. ' +
        'Fix: call app.init() or app.listen(), or in a test module.init(); compile() and startAllMicroservices() do not initialise the application',
    );
  }
}
