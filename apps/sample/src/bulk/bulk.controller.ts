import { Readable } from 'node:stream';
import {
  Controller,
  DefaultValuePipe,
  Get,
  HttpCode,
  HttpException,
  NotFoundException,
  Param,
  ParseIntPipe,
  PayloadTooLargeException,
  Post,
  Query,
  Req,
  Sse,
  StreamableFile,
  UnsupportedMediaTypeException,
  type MessageEvent,
} from '@nestjs/common';
import {
  ApiBody,
  ApiConsumes,
  ApiCreatedResponse,
  ApiNotFoundResponse,
  ApiOkResponse,
  ApiQuery,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import type { IncomingMessage } from 'node:http';
import { MessageFileError } from 'nestjs-rt-sms/message-file';
import { auditTime, map, startWith, type Observable } from 'rxjs';
import type { Bulk, BulkAbout, BulkProgress, BulkRow } from './bulk.js';
import { BulkService } from './bulk.service.js';

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_LISTED = 500;
const PROGRESS_MS = 100;
const BOM = '\uFEFF';

@ApiTags('bulk')
@Controller('bulk')
export class BulkController {
  constructor(private readonly bulks: BulkService) {}

  /** Receives a CSV and checks it without sending anything. */
  @Post()
  @ApiConsumes('text/csv')
  @ApiBody({ schema: { type: 'string', example: 'msisdn,text\n+79270000001,Hello' } })
  @ApiQuery({ name: 'shortcode', required: false, description: 'Sender name of rows without one' })
  @ApiCreatedResponse({ description: 'Format of the file, number of invalid rows, and cost in segments' })
  @ApiUnprocessableEntityResponse({ description: 'The file cannot be read; the error has the row' })
  async take(
    @Req() request: IncomingMessage,
    @Query('shortcode') shortcode?: string,
  ): Promise<BulkAbout & BulkProgress> {
    if (!/^text\/csv\b/i.test(request.headers['content-type'] ?? '')) {
      throw new UnsupportedMediaTypeException('The Content-Type must be text/csv');
    }
    const bytes = await bodyOf(request);
    try {
      const bulk = await this.bulks.take(bytes, shortcode?.trim() || undefined);
      return { ...bulk.about, ...bulk.progress };
    } catch (error) {
      if (!(error instanceof MessageFileError)) throw error;
      const { problem, row, message } = error;
      throw new HttpException({ statusCode: 422, code: 'CSV', problem, row, message }, 422);
    }
  }

  /** Sends the valid rows of a file. */
  @Post(':id/start')
  @HttpCode(202)
  @ApiNotFoundResponse()
  start(@Param('id') id: string): BulkProgress {
    const bulk = this.get(id);
    this.bulks.start(bulk);
    return bulk.progress;
  }

  /** Stops sending a file; messages in flight settle. */
  @Post(':id/stop')
  @HttpCode(202)
  @ApiNotFoundResponse()
  stop(@Param('id') id: string): BulkProgress {
    const bulk = this.get(id);
    bulk.stop();
    return bulk.progress;
  }

  @Get(':id')
  @ApiOkResponse({ description: 'Progress of the file' })
  @ApiNotFoundResponse()
  find(@Param('id') id: string): BulkProgress {
    return this.get(id).progress;
  }

  /** Progress of a file as server-sent events. */
  @Sse(':id/events')
  @ApiOkResponse({ content: { 'text/event-stream': { schema: { type: 'string' } } } })
  events(@Param('id') id: string): Observable<MessageEvent> {
    const bulk = this.get(id);
    return bulk.changes$.pipe(
      auditTime(PROGRESS_MS),
      startWith(undefined),
      map(() => ({ data: bulk.progress })),
    );
  }

  /** A page of the rows of a file, optionally of one status. */
  @Get(':id/rows')
  @ApiQuery({ name: 'from', required: false })
  @ApiQuery({ name: 'limit', required: false })
  @ApiQuery({ name: 'status', required: false })
  @ApiNotFoundResponse()
  rows(
    @Param('id') id: string,
    @Query('from', new DefaultValuePipe(0), ParseIntPipe) from: number,
    @Query('limit', new DefaultValuePipe(100), ParseIntPipe) limit: number,
    @Query('status') status?: string,
  ): { total: number; rows: BulkRow[] } {
    const { rows } = this.get(id);
    const found = status ? rows.filter((row) => row.status === status) : rows;
    const first = Math.max(0, from);
    return { total: found.length, rows: found.slice(first, first + Math.min(Math.max(limit, 1), MAX_LISTED)) };
  }

  /** All rows of a file with their outcomes, with the delimiter of the file. */
  @Get(':id/results.csv')
  @ApiNotFoundResponse()
  results(@Param('id') id: string): StreamableFile {
    return new StreamableFile(Readable.from(resultsOf(this.get(id))), {
      type: 'text/csv; charset=utf-8',
      disposition: 'attachment; filename="sms-results.csv"',
    });
  }

  private get(id: string): Bulk {
    const bulk = this.bulks.find(id);
    if (!bulk) throw new NotFoundException('This file does not exist, or has been deleted');
    return bulk;
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new PayloadTooLargeException(`The file must have at most ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const AT_ONCE = 1_000;

function* resultsOf({ rows, about: { delimiter } }: Bulk): Generator<string> {
  const line = (cells: readonly (string | number | undefined)[]) => `${cells.map(cellOf).join(delimiter)}\r\n`;
  // Without the byte order mark Excel uses the encoding of its country.
  yield BOM + line(['row', 'msisdn', 'status', 'uid', 'code', 'outcome', 'what']);
  for (let at = 0; at < rows.length; at += AT_ONCE) {
    yield rows
      .slice(at, at + AT_ONCE)
      .map(({ row, msisdn, status, uid, errorCode, error, problem }) =>
        line([
          row,
          msisdn,
          status,
          uid,
          error?.code ?? errorCode,
          status === 'wrong' ? 'not_sent' : error?.outcome,
          problem ? `${problem.field} ${problem.message}` : error?.message,
        ]),
      )
      .join('');
  }
}

/** Quotes a cell, and escapes a first character that a spreadsheet would take for a formula. */
function cellOf(value: string | number | undefined): string {
  const text = String(value ?? '').replace(/^[=+\-@\t\r]/, "'$&");
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
