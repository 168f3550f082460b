import {
  Body,
  Controller,
  HttpCode,
  Param,
  Post,
  Sse,
  StandardSchemaValidationPipe,
  type MessageEvent,
} from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { msisdnSchema, RtSmsValidationError } from 'nestjs-rt-sms';
import { RtSmsOtpService, type OtpChallenge, type OtpVerification } from 'nestjs-rt-sms-otp';
import { map, type Observable } from 'rxjs';
import { StartSignInDto, VerifySignInDto } from './sign-in.dto.js';
import { UndeliveredCodes } from './undelivered.js';

const LOGIN = { purpose: 'login' };
/** An invalid number gets the same answer from this pipe as from the service. */
const recipient = {
  schema: msisdnSchema,
  pipes: [
    new StandardSchemaValidationPipe({
      exceptionFactory: (issues) => new RtSmsValidationError(issues.map(({ message }) => `msisdn ${message}`)),
    }),
  ],
};

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
  @ApiBody({ type: StartSignInDto })
  start(@Body('msisdn', recipient) msisdn: string): Promise<OtpChallenge> {
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
