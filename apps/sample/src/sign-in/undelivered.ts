import { Injectable } from '@nestjs/common';
import { OnRtSmsOtpUndelivered, type RtSmsOtpUndeliveredEvent } from 'nestjs-rt-sms-otp';
import { filter, Subject, type Observable } from 'rxjs';

/** Passes on that the message of a code did not arrive, so that the page can offer another way. */
@Injectable()
export class UndeliveredCodes {
  private readonly events = new Subject<RtSmsOtpUndeliveredEvent>();

  @OnRtSmsOtpUndelivered()
  onUndelivered(event: RtSmsOtpUndeliveredEvent): void {
    this.events.next(event);
  }

  of(challengeId: string): Observable<RtSmsOtpUndeliveredEvent> {
    return this.events.pipe(filter((event) => event.challengeId === challengeId));
  }
}
