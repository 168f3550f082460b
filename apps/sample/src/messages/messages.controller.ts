import { Body, Controller, Get, NotFoundException, Param, Post, Sse, type MessageEvent } from '@nestjs/common';
import {
  ApiBadGatewayResponse,
  ApiCreatedResponse,
  ApiGatewayTimeoutResponse,
  ApiNotFoundResponse,
  ApiOkResponse,
  ApiServiceUnavailableResponse,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import { RtSmsService } from 'nestjs-rt-sms';
import { map, type Observable } from 'rxjs';
import { ErrorBody } from '../rt-sms-error.filter.js';
import { MessageJournal } from './message-journal.js';
import { Message, SendMessageDto } from './message.dto.js';
import { MessagesService } from './messages.service.js';

@ApiTags('messages')
@Controller()
export class MessagesController {
  constructor(
    private readonly messages: MessagesService,
    private readonly journal: MessageJournal,
    private readonly sms: RtSmsService,
  ) {}

  /** Sends a message now. */
  @Post('messages')
  @ApiCreatedResponse({ type: Message })
  @ApiUnprocessableEntityResponse({ type: ErrorBody, description: 'The message is wrong, or the gateway said no' })
  @ApiBadGatewayResponse({ type: ErrorBody, description: 'outcome "unknown": it may have been sent; or no access' })
  @ApiServiceUnavailableResponse({ type: ErrorBody, description: 'Not sent, try again later' })
  @ApiGatewayTimeoutResponse({
    type: ErrorBody,
    description: 'Too late; the outcome says whether it may have been sent',
  })
  send(@Body() message: SendMessageDto): Promise<Message> {
    return this.messages.send(message);
  }

  @Get('messages')
  @ApiOkResponse({ type: [Message] })
  list(): Promise<Message[]> {
    return this.journal.list();
  }

  @Get('messages/:uid')
  @ApiOkResponse({ type: Message })
  @ApiNotFoundResponse()
  async find(@Param('uid') uid: string): Promise<Message> {
    const message = await this.journal.find(uid);
    if (!message) throw new NotFoundException('No message has this uid');
    return message;
  }

  /** Every status as it becomes known, as server-sent events. */
  @Sse('events')
  @ApiOkResponse({ content: { 'text/event-stream': { schema: { type: 'string' } } } })
  events(): Observable<MessageEvent> {
    return this.sms.statuses$.pipe(map((event) => ({ id: event.id, data: event })));
  }
}
