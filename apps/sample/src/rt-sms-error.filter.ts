import { Catch, HttpException, type ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import {
  RT_SMS_OUTCOMES,
  RT_SMS_POLICY_RULES,
  RtSmsError,
  type RtSmsOutcome,
  type RtSmsPolicyRule,
} from 'nestjs-rt-sms';

/** The problem with one field of a message. */
export class FieldProblem {
  @ApiPropertyOptional({ enum: ['msisdn', 'text', 'shortcode'] })
  field?: string;

  @ApiProperty({ description: 'Continues the name of the field: "must be …".' })
  message!: string;
}

/** The body of an answer for an `RtSmsError`. */
export class ErrorBody {
  @ApiProperty()
  statusCode!: number;

  @ApiProperty({ example: 'RT_SMS_REJECTED', description: 'Stable: switch on it.' })
  code!: string;

  @ApiPropertyOptional({ enum: RT_SMS_OUTCOMES, description: 'Outcome of the message.' })
  outcome?: RtSmsOutcome;

  @ApiPropertyOptional({ example: 'invalid_source_address', description: 'Reason given by the gateway.' })
  reason?: string;

  @ApiPropertyOptional({ enum: RT_SMS_POLICY_RULES, description: 'Rule that refused the message, with RT_SMS_POLICY.' })
  rule?: RtSmsPolicyRule;

  @ApiProperty({ description: 'True if repeating the request cannot send the message twice.' })
  retryable!: boolean;

  @ApiProperty()
  message!: string;

  @ApiPropertyOptional({
    description: 'Milliseconds to wait, with RT_SMS_OTP_TOO_SOON and with limits of RT_SMS_POLICY.',
  })
  retryAfterMs?: number;

  @ApiPropertyOptional({ type: [FieldProblem], description: 'With RT_SMS_VALIDATION.' })
  problems?: FieldProblem[];
}

type Caught = RtSmsError &
  Pick<ErrorBody, 'reason' | 'rule' | 'retryAfterMs'> & { readonly problems?: readonly string[] };

/** HTTP statuses of the codes for which the outcome alone is not enough. */
const STATUS_OF_CODE: Partial<Record<string, number>> = {
  RT_SMS_VALIDATION: 422,
  // The gateway rejected the account's login or address, not the message.
  RT_SMS_AUTH: 502,
  RT_SMS_NOT_FOUND: 404,
  RT_SMS_TIMEOUT: 504,
  RT_SMS_OTP_TOO_SOON: 429,
  RT_SMS_OTP_LOCKED: 409,
  RT_SMS_OTP_USED: 409,
  RT_SMS_OTP_EXPIRED: 409,
  RT_SMS_OTP_UNKNOWN: 404,
};
const STATUS_OF_OUTCOME = { not_sent: 503, rejected: 422, unknown: 502 };

function statusOf({ code, outcome = 'unknown', retryable, retryAfterMs }: Caught): number {
  if (code === 'RT_SMS_POLICY') return retryAfterMs === undefined ? 422 : 429;
  // A fault of the gateway (`system_error`): the message itself is valid.
  if (outcome === 'rejected' && retryable) return 503;
  return STATUS_OF_CODE[code] ?? STATUS_OF_OUTCOME[outcome];
}

/** Splits a problem of an `RtSmsValidationError`, which begins with the name of its field. */
function problemOf(problem: string): FieldProblem {
  const [, field, message] = /^(msisdn|text|shortcode) (.*)$/s.exec(problem) ?? [];
  return field === undefined || message === undefined ? { message: problem } : { field, message };
}

/** Turns an `RtSmsError` into an HTTP answer. Its message is safe to show: it never contains the text or a full number. */
@Catch(RtSmsError)
export class RtSmsErrorFilter extends BaseExceptionFilter {
  override catch(error: Caught, host: ArgumentsHost): void {
    const { code, outcome, reason, rule, retryable, retryAfterMs, message } = error;
    const statusCode = statusOf(error);
    const problems = error.problems?.map(problemOf);
    const body = { statusCode, code, outcome, reason, rule, retryable, retryAfterMs, message, problems };
    super.catch(new HttpException(body, statusCode), host);
  }
}
