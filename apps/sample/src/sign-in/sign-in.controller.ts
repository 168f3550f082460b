import { Body, Controller, HttpCode, Param, Post, Sse, type MessageEvent } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { RtSmsOtpService, type OtpChallenge, type OtpVerification } from 'nestjs-rt-sms-otp';
import { map, type Observable } from 'rxjs';
import { StartSignInDto, VerifySignInDto } from './sign-in.dto.js';
import { UndeliveredCodes } from './undelivered.js';

const LOGIN = { purpose: 'login' };

/** Signs people in by their phone number. A real application would start a session, or issue a token, for a right code. */
@ApiTags('sign-in')
@Controller('sign-in')
export class SignInController {
  constructor(
    private readonly otp: RtSmsOtpService,
    private readonly undelivered: UndeliveredCodes,
  ) {}

  /** Sends a code. */
  @Post()
  start(@Body() { msisdn }: StartSignInDto): Promise<OtpChallenge> {
    return this.otp.start(msisdn, LOGIN);
  }

  /** Sends the same code again. */
  @Post(':challengeId/resend')
  resend(@Param('challengeId') challengeId: string): Promise<OtpChallenge> {
    return this.otp.resend(challengeId);
  }

  /** Checks a code. */
  @Post(':challengeId/verify')
  @HttpCode(200)
  verify(@Param('challengeId') challengeId: string, @Body() { code }: VerifySignInDto): Promise<OtpVerification> {
    return this.otp.verify(challengeId, code, LOGIN);
  }

  /** Events of a code that did not arrive, as server-sent events. */
  @Sse(':challengeId/undelivered')
  @ApiOkResponse({ content: { 'text/event-stream': { schema: { type: 'string' } } } })
  changes(@Param('challengeId') challengeId: string): Observable<MessageEvent> {
    return this.undelivered.of(challengeId).pipe(map(({ reason }) => ({ data: { reason } })));
  }
}
