import { ApiProperty, ApiPropertyOptional, OmitType } from '@nestjs/swagger';
import { IsString } from 'class-validator';
import { RT_SMS_OUTCOMES, SMS_STATUSES, SmsMessageDto, type RtSmsOutcome, type SmsStatus } from 'nestjs-rt-sms';

/** The body of `POST /messages`: the rules are those of the library, the descriptions are for `/docs`. */
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

/** How a text is cut into the SMS that are paid for. */
export class Segments {
  @ApiProperty({ enum: ['gsm7', 'ucs2'] })
  encoding!: 'gsm7' | 'ucs2';

  @ApiProperty()
  segments!: number;

  @ApiProperty({ description: 'What counts against the limit.' })
  characters!: number;

  @ApiProperty({ description: 'The limit per segment.' })
  perSegment!: number;
}

/**
 * Where a message is: in the queue of a durable engine (`queued`), on its way to the gateway (`sending`), taken by it
 * (`accepted`), not taken (`refused`), perhaps taken (`outcome_unknown`); after that, what the gateway says of its delivery.
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

/** Why a message was not taken, or may not have been. */
export class SendError {
  @ApiProperty({ example: 'RT_SMS_REJECTED' })
  code!: string;

  @ApiPropertyOptional({ enum: RT_SMS_OUTCOMES })
  outcome?: RtSmsOutcome;

  @ApiPropertyOptional({ example: 'invalid_source_address', description: "The gateway's own word." })
  reason?: string;

  @ApiPropertyOptional({ description: 'What happened, and what to do about it.' })
  message?: string;
}

/** A message as the journal keeps it and the API shows it: number and text in full, so that people can be answered. */
export class Message {
  @ApiProperty({ description: 'Ours, made before the message is sent.' })
  id!: string;

  @ApiPropertyOptional({ example: 'message-id-VvkmLHkfhCX9', description: "The gateway's, once it took the message." })
  uid?: string;

  @ApiProperty({ example: '79270000001' })
  msisdn!: string;

  @ApiProperty()
  text!: string;

  @ApiPropertyOptional()
  shortcode?: string;

  @ApiProperty({ description: 'In how many segments it is paid for.' })
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
