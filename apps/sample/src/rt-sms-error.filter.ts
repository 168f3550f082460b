import { Catch, HttpException, type ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { RT_SMS_OUTCOMES, RtSmsError, type RtSmsOutcome } from 'nestjs-rt-sms';

/** What is wrong with one field of a message. */
export class FieldProblem {
  @ApiPropertyOptional({ enum: ['msisdn', 'text', 'shortcode'] })
  field?: string;

  @ApiProperty({ description: 'Reads on from the name of the field.' })
  message!: string;
}

/** The body of an answer that tells of an `RtSmsError`. */
export class ErrorBody {
  @ApiProperty()
  statusCode!: number;

  @ApiProperty({ example: 'RT_SMS_REJECTED', description: 'Stable: switch on it.' })
  code!: string;

  @ApiPropertyOptional({ enum: RT_SMS_OUTCOMES, description: 'What became of the message.' })
  outcome?: RtSmsOutcome;

  @ApiPropertyOptional({ example: 'invalid_source_address', description: "The gateway's own word." })
  reason?: string;

  @ApiProperty({ description: 'The same request may be repeated and cannot send twice.' })
  retryable!: boolean;

  @ApiProperty()
  message!: string;

  @ApiPropertyOptional({ type: [FieldProblem], description: 'With RT_SMS_VALIDATION.' })
  problems?: FieldProblem[];
}

/** Where the outcome alone does not decide. */
const STATUS_OF_CODE: Partial<Record<string, number>> = {
  RT_SMS_VALIDATION: 422,
  // Our login or address, not the message, is refused.
  RT_SMS_AUTH: 502,
  RT_SMS_NOT_FOUND: 404,
  RT_SMS_TIMEOUT: 504,
};
const STATUS_OF_OUTCOME = { not_sent: 503, rejected: 422, unknown: 502 };

function statusOf({ code, outcome = 'unknown', retryable }: RtSmsError): number {
  // The gateway's own trouble, `system_error`: nothing is wrong with the message.
  if (outcome === 'rejected' && retryable) return 503;
  return STATUS_OF_CODE[code] ?? STATUS_OF_OUTCOME[outcome];
}

/** A problem of an `RtSmsValidationError` begins with the name of its field. */
function problemOf(problem: string): FieldProblem {
  const [, field, message] = /^(msisdn|text|shortcode) (.*)$/s.exec(problem) ?? [];
  return field === undefined || message === undefined ? { message: problem } : { field, message };
}

/** An `RtSmsError` as an HTTP answer. What it says is safe to show: it never holds the text or a full number. */
@Catch(RtSmsError)
export class RtSmsErrorFilter extends BaseExceptionFilter {
  override catch(error: RtSmsError & { reason?: string; problems?: readonly string[] }, host: ArgumentsHost): void {
    const { code, outcome, reason, retryable, message } = error;
    const statusCode = statusOf(error);
    const body = { statusCode, code, outcome, reason, retryable, message, problems: error.problems?.map(problemOf) };
    super.catch(new HttpException(body, statusCode), host);
  }
}
