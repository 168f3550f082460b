import { readFileSync } from 'node:fs';
import { Controller, Get, Header, Inject, NotFoundException, Optional, Param, StreamableFile } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { ApiExcludeController } from '@nestjs/swagger';
import { rtSmsConfig, type RtSmsOptions } from 'nestjs-rt-sms';
import { policyOf, startsOf } from './policy.js';
import { Queues, type QueueCounts } from './queues.js';

const CODE = 'text/javascript; charset=utf-8';
const TYPES: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'style.css': 'text/css; charset=utf-8',
  'app.js': CODE,
  'bulk.js': CODE,
  'costly.js': CODE,
  'dom.js': CODE,
  'form.js': CODE,
  'messages.js': CODE,
  'rows.js': CODE,
  'sign-in.html': 'text/html; charset=utf-8',
  'sign-in.css': 'text/css; charset=utf-8',
  'sign-in.js': CODE,
  'sign-in-words.js': CODE,
  'words.js': CODE,
};
const FILES = new Map(
  Object.entries(TYPES).map(([name, type]) => [
    name,
    { type, body: readFileSync(new URL(`./page/${name}`, import.meta.url)) },
  ]),
);
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Data of the process that the page shows. */
export interface About {
  /** True if messages go to a simulated gateway, so that no phone receives them. */
  simulated: boolean;
  inbox?: string;
  /** Default sender name. */
  shortcode?: string;
  /** Staging mode: messages go only to numbers that begin with one of the entries. */
  onlyTo?: {
    /** Number of entries. */
    entries: number;
    /** Leading digits of the first entries, never a whole number. */
    starts: string[];
  };
  /** Job counts of the queues, with a durable engine. */
  queues?: QueueCounts[];
}

/** Serves the pages at `/` and `/sign-in`, and their files. */
@ApiExcludeController()
@Controller()
export class PageController {
  constructor(
    private readonly config: ConfigService,
    @Inject(rtSmsConfig.KEY) private readonly options: RtSmsOptions,
    @Optional() private readonly queues?: Queues,
  ) {}

  @Get()
  @Header('Content-Security-Policy', POLICY)
  @Header('Referrer-Policy', 'no-referrer')
  @Header('X-Content-Type-Options', 'nosniff')
  @Header('Cache-Control', 'no-cache')
  index(): StreamableFile {
    return this.file('index.html');
  }

  @Get('sign-in')
  @Header('Content-Security-Policy', POLICY)
  @Header('Referrer-Policy', 'no-referrer')
  @Header('X-Content-Type-Options', 'nosniff')
  @Header('Cache-Control', 'no-cache')
  signIn(): StreamableFile {
    return this.file('sign-in.html');
  }

  @Get('page/about')
  @Header('Cache-Control', 'no-store')
  async about(): Promise<About> {
    const inbox = this.config.get<string>('INBOX_URL') || undefined;
    const shortcode = this.config.get<string>('RT_SMS_SHORTCODE') || undefined;
    const { onlyTo } = policyOf(this.options);
    const queues = await this.queues?.counts();
    return {
      simulated: inbox !== undefined,
      ...(inbox !== undefined && { inbox }),
      ...(shortcode !== undefined && { shortcode }),
      ...(onlyTo && { onlyTo: { entries: onlyTo.length, starts: startsOf(onlyTo) } }),
      ...(queues && { queues }),
    };
  }

  @Get('page/:name')
  @Header('X-Content-Type-Options', 'nosniff')
  @Header('Cache-Control', 'no-cache')
  file(@Param('name') name: string): StreamableFile {
    const file = FILES.get(name);
    if (!file) throw new NotFoundException();
    return new StreamableFile(file.body, { type: file.type });
  }
}
