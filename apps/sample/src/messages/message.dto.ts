import { ApiProperty, ApiPropertyOptional, OmitType } from '@nestjs/swagger';
import { IsString } from 'class-validator';
import {
  RT_SMS_OUTCOMES,
  RT_SMS_POLICY_RULES,
  SMS_STATUSES,
  SmsMessageDto,
  type RtSmsOutcome,
  type RtSmsPolicyRule,
  type SmsStatus,
} from 'nestjs-rt-sms';

/** The body of `POST /messages`. The rules come from the library, the descriptions are for `/docs`. */
export class SendMessageDto extends OmitType(SmsMessageDto, ['ref'] as const) {
  @ApiProperty({
    oneOf: [{ type: 'string' }, { type: 'integer' }],
    example: '+79270000001',
    description: 'The recipient: + and country code, or a Russian number in its usual forms.',
  })
  override msisdn!: string | number;

  @ApiProperty({ example: 'Your order is ready', description: 'Not blank, at most 255 segments.' })
  override text!: string;

  @ApiPropertyOptional({ description: 'The sender name, one agreed with the provider. Default: RT_SMS_SHORTCODE.' })
  override shortcode?: string;
}

export class SegmentsOfDto {
  @ApiProperty()
  @IsString()
  text!: string;
}

/** The split of a text into SMS, each of which is charged. */
export class Segments {
  @ApiProperty({ enum: ['gsm7', 'ucs2'] })
  encoding!: 'gsm7' | 'ucs2';

  @ApiProperty()
  segments!: number;

  @ApiProperty({ description: 'Number of characters that count against the limit.' })
  characters!: number;

  @ApiProperty({ description: 'The limit per segment.' })
  perSegment!: number;

  @ApiProperty({ description: 'Characters that make the text UCS-2: at most the first 50.' })
  costly!: string[];

  @ApiProperty({ example: '1 segment: 5 of 160 characters in GSM-7' })
  explanation!: string;
}

/**
 * Statuses of a message: in the queue of a durable engine (`queued`), being sent (`sending`), accepted by the gateway
 * (`accepted`), not sent (`refused`), perhaps sent (`outcome_unknown`); then its delivery status from the gateway.
 */
export const MESSAGE_STATUSES = [
  'queued',
  'sending',
  'accepted',
  'refused',
  'outcome_unknown',
  ...SMS_STATUSES,
] as const;
export type MessageStatus = 'queued' | 'sending' | 'accepted' | 'refused' | 'outcome_unknown' | SmsStatus;

/** Error of a message that was not sent, or may not have been sent. */
export class SendError {
  @ApiProperty({ example: 'RT_SMS_REJECTED' })
  code!: string;

  @ApiPropertyOptional({ enum: RT_SMS_OUTCOMES })
  outcome?: RtSmsOutcome;

  @ApiPropertyOptional({ example: 'invalid_source_address', description: 'Reason given by the gateway.' })
  reason?: string;

  @ApiPropertyOptional({ enum: RT_SMS_POLICY_RULES, description: 'Rule of the send policy that refused the message.' })
  rule?: RtSmsPolicyRule;

  @ApiPropertyOptional({ description: 'What happened, and the fix.' })
  message?: string;
}

/** A message in the journal and in the API, with full number and text, so that you can answer recipients' questions. */
export class Message {
  @ApiProperty({ description: 'Id in this application, generated before the message is sent.' })
  id!: string;

  @ApiPropertyOptional({
    example: 'message-id-VvkmLHkfhCX9',
    description: 'Id in the gateway, after it accepted the message.',
  })
  uid?: string;

  @ApiProperty({ example: '79270000001' })
  msisdn!: string;

  @ApiProperty()
  text!: string;

  @ApiPropertyOptional()
  shortcode?: string;

  @ApiProperty({ description: 'Number of charged segments.' })
  segments!: number;

  @ApiProperty({ enum: MESSAGE_STATUSES })
  status!: MessageStatus;

  @ApiPropertyOptional({ description: 'Only with the status rejected.' })
  errorCode?: string;

  @ApiPropertyOptional({ type: SendError })
  error?: SendError;

  @ApiProperty()
  createdAt!: Date;

  @ApiProperty()
  updatedAt!: Date;
}
