import {
  Body,
  Controller,
  DefaultValuePipe,
  Get,
  HttpCode,
  NotFoundException,
  Param,
  ParseIntPipe,
  Post,
  Query,
  Sse,
  type MessageEvent,
} from '@nestjs/common';
import {
  ApiBadGatewayResponse,
  ApiCreatedResponse,
  ApiGatewayTimeoutResponse,
  ApiNotFoundResponse,
  ApiOkResponse,
  ApiQuery,
  ApiServiceUnavailableResponse,
  ApiTooManyRequestsResponse,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import { countSegments, explainSegments, RtSmsService } from 'nestjs-rt-sms';
import { bufferTime, filter, map, type Observable } from 'rxjs';
import { ErrorBody } from '../rt-sms-error.filter.js';
import { MessageJournal } from './message-journal.js';
import { Message, Segments, SegmentsOfDto, SendMessageDto } from './message.dto.js';
import { MessagesService } from './messages.service.js';

/** Maximum of messages in one event, which is as many as the page shows, and in a list. */
const SHOWN = 200;
const LISTED = 1_000;
const GATHER_MS = 40;

@ApiTags('messages')
@Controller()
export class MessagesController {
  constructor(
    private readonly messages: MessagesService,
    private readonly journal: MessageJournal,
    private readonly sms: RtSmsService,
  ) {}

  /** Sends a message now, or enqueues it with a durable engine. */
  @Post('messages')
  @ApiCreatedResponse({ type: Message })
  @ApiUnprocessableEntityResponse({
    type: ErrorBody,
    description: 'The message is invalid, or the send policy or the gateway rejected it',
  })
  @ApiTooManyRequestsResponse({ type: ErrorBody, description: 'A limit of the send policy is reached: `retryAfterMs`' })
  @ApiBadGatewayResponse({ type: ErrorBody, description: 'outcome "unknown": it may have been sent; or no access' })
  @ApiServiceUnavailableResponse({ type: ErrorBody, description: 'Not sent, try again later' })
  @ApiGatewayTimeoutResponse({
    type: ErrorBody,
    description: 'Deadline exceeded; the outcome shows whether it may have been sent',
  })
  send(@Body() message: SendMessageDto): Promise<Message> {
    return this.messages.send(message);
  }

  /** The newest messages, newest first. */
  @Get('messages')
  @ApiQuery({ name: 'limit', required: false, description: `Default: ${LISTED}` })
  @ApiOkResponse({ type: [Message] })
  list(@Query('limit', new DefaultValuePipe(LISTED), ParseIntPipe) limit: number): Promise<Message[]> {
    return this.journal.list(Math.min(Math.max(limit, 1), LISTED));
  }

  /** Messages when they begin and change, as server-sent events with several messages each. */
  @Sse('messages/changes')
  @ApiOkResponse({ content: { 'text/event-stream': { schema: { type: 'string' } } } })
  changes(): Observable<MessageEvent> {
    return this.journal.changes$.pipe(
      bufferTime(GATHER_MS),
      filter((changed) => changed.length > 0),
      map((changed) => ({
        data: [...new Map(changed.map((message) => [message.id, message])).values()].slice(-SHOWN),
      })),
    );
  }

  @Get('messages/:uid')
  @ApiOkResponse({ type: Message })
  @ApiNotFoundResponse()
  async find(@Param('uid') uid: string): Promise<Message> {
    const message = (await this.journal.find({ uid })) ?? (await this.journal.find({ id: uid }));
    if (!message) throw new NotFoundException('No message has this uid');
    return message;
  }

  /** Number of segments that a text needs, and the characters that cost the most. */
  @Post('segments')
  @HttpCode(200)
  @ApiOkResponse({ type: Segments })
  segments(@Body() { text }: SegmentsOfDto): Segments {
    return { ...countSegments(text), explanation: explainSegments(text) };
  }

  /** Statuses as server-sent events. */
  @Sse('events')
  @ApiOkResponse({ content: { 'text/event-stream': { schema: { type: 'string' } } } })
  events(): Observable<MessageEvent> {
    return this.sms.statuses$.pipe(map((event) => ({ id: event.id, data: event })));
  }
}
