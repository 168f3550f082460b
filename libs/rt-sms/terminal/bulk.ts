import { hash } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import {
  countSegments,
  maskNumber,
  RtSmsAbortedError,
  RtSmsRejectedError,
  type RtSmsError,
  type RtSmsOutcome,
  type RtSmsService,
  type SendResult,
  type SmsMessage,
} from 'nestjs-rt-sms';
import { withAccount } from './account.js';
import { UsageError, type Answer } from './answer.js';
import type { ParsedArgs } from './command-line.js';
import { OpenedFile, type Row } from './message-file.js';
import { counted, Progress } from './progress.js';
import { ResultFile } from './result-file.js';

/** Maximum of invalid or doubled rows that are listed: in a file of the wrong kind all rows are invalid. */
const NAMED = 50;
const CONCURRENCY = 10;
/** Characters of one text, and of all texts, that are named as the cause of more segments. */
const FEW = 5;
const MOST = 10;
/** Number of consecutive failures without an answer after which the run ends: the cause is then not the messages. */
const GIVE_UP_AFTER = 20;

interface Plan {
  readonly rows: number;
  readonly due: number;
  readonly segments: number;
  /** Characters that make otherwise Latin texts UCS-2, by the number of rows, the most frequent first. */
  readonly costly: Readonly<Record<string, number>>;
  /** Skipped rows: sent or perhaps sent by an earlier run, invalid, or equal to an earlier row. */
  readonly skipped: Record<'sent' | 'unknown' | 'invalid' | 'doubled', number>;
  /** Number of messages to each country, by its ISO 3166 code. */
  readonly countries: Readonly<Record<string, number>>;
  /** Rows with the number and text of an earlier row: their count, and the first of them. */
  readonly doubled: { readonly count: number; readonly rows: readonly { row: number; sameAs: number }[] };
}

/** Sends a file. The whole file is checked before the first row is sent. */
export function bulk({ args, flags }: ParsedArgs, stopped: AbortSignal): Promise<Answer> {
  return withAccount(flags, false, async ({ sms, options }) => {
    const [path = ''] = args;
    const file = await OpenedFile.open(path, flags.encoding, options.shortcode);
    const resultPath = flags.results ?? path.replace(/(\.csv)?$/i, '.results.csv');
    let results: ResultFile | undefined;
    try {
      results = await (flags.dryRun ? ResultFile.read(resultPath) : ResultFile.open(resultPath));
      const run = new Run(file, results, flags.resendUnknown === true, flags.skipDoubled === true);
      const plan = await run.plan(flags.skipInvalid === true);
      const { rows, due, segments, skipped } = plan;
      const left = Object.entries(skipped).flatMap(([why, count]) => (count > 0 ? [`${count} ${why}`] : []));
      const skips = left.length > 0 ? `; skipped: ${left.join(', ')}` : '';
      const summary = `${path} (${file.encoding}): ${counted(rows, 'row')}, ${due} to send in ${counted(segments, 'segment')}${skips}`;
      const text = [summary, ...noticesOf(plan)].join('\n');
      if (flags.dryRun) return { code: 0, text, json: plan };
      if (flags.maxSegments !== undefined && segments > flags.maxSegments)
        await confirm(`${text}\nThese are more than --max-segments ${flags.maxSegments}.`, stopped);
      await results.begin();
      const progress = flags.json ? undefined : new Progress(due, text);
      stopped.addEventListener('abort', () => progress?.print('Stopping: waiting for messages in flight'));
      const ended = await run.send(sms, stopped, progress);
      const { sent, rejected, unknown } = run.counts;
      // Includes the rows that were not tried.
      const notSent = due - sent - rejected - unknown;
      const doubtful = unknown + skipped.unknown;
      const code = notSent > 0 || rejected > 0 || ended !== undefined ? 1 : 0;
      return {
        code: doubtful > 0 ? 3 : code,
        text: [
          `sent ${sent}, rejected ${rejected}, not sent ${notSent}, unknown ${unknown}, skipped ${rows - due}`,
          ended,
          notSent > 0 && 'Run the same command again to send the rest.',
          doubtful > 0 && `${doubtful} may have been sent; only --resend-unknown sends them again.`,
          `Results: ${resultPath}`,
        ]
          .filter(Boolean)
          .join('\n'),
        json: { ...plan, sent, rejected, notSent, unknown, ended, results: resultPath },
      };
    } finally {
      await results?.close();
      await file.close();
    }
  });
}

class Run {
  readonly counts = { sent: 0, rejected: 0, not_sent: 0, unknown: 0 };
  /** Messages that are recorded as `sending` and have not settled. */
  private readonly open = new Map<SmsMessage, { row: number; masked: string }>();
  private over = false;

  /** Rows that are skipped because they repeat an earlier one. */
  private readonly repeats = new Set<number>();

  constructor(
    private readonly file: OpenedFile,
    private readonly results: ResultFile,
    private readonly again: boolean,
    private readonly skipDoubled: boolean,
  ) {}

  /** @throws UsageError that lists the invalid rows, unless they are to be skipped */
  async plan(skipInvalid: boolean): Promise<Plan> {
    const skipped = { sent: 0, unknown: 0, invalid: 0, doubled: 0 };
    const invalid: { row: number; problems: readonly string[] }[] = [];
    const countries: Record<string, number> = {};
    const costly = new Map<string, number>();
    const doubled: { row: number; sameAs: number }[] = [];
    /** First row of each number and text, by a digest of both, so that the texts do not stay in memory. */
    const firstRows = new Map<string, number>();
    let doubledCount = 0;
    let rows = 0;
    let due = 0;
    let segments = 0;
    let last = 0;
    for await (const row of this.file.rows()) {
      rows++;
      last = row.row;
      const sameAs = row.problems.length > 0 ? undefined : earlierRow(firstRows, row);
      if (sameAs !== undefined && this.skipDoubled) this.repeats.add(row.row);
      const why = this.whySkipped(row);
      if (sameAs !== undefined && (why === undefined || why === 'doubled') && ++doubledCount <= NAMED)
        doubled.push({ row: row.row, sameAs });
      if (why === undefined) {
        due++;
        const counted = countSegments(row.message.text);
        segments += counted.segments;
        // Cyrillic texts need UCS-2 anyway; a few other characters are often unintended.
        if (counted.costly.length <= FEW && !/\p{Script=Cyrillic}/u.test(row.message.text))
          for (const each of counted.costly) costly.set(each, (costly.get(each) ?? 0) + 1);
        const country = row.country ?? 'ZZ';
        countries[country] = (countries[country] ?? 0) + 1;
      } else if (++skipped[why] <= NAMED && why === 'invalid') invalid.push({ row: row.row, problems: row.problems });
    }
    if (this.results.last > last)
      throw this.results.mismatch(`it has row ${this.results.last}, and the file ends with row ${last}`);
    if (skipped.invalid > 0 && !skipInvalid) {
      const lines = invalid.map(({ row, problems }) => `row ${row}: ${problems.join('; ')}`);
      if (skipped.invalid > NAMED) lines.push(`and ${skipped.invalid - NAMED} more`);
      const many = `Nothing was sent: ${skipped.invalid} of ${rows} rows are invalid (--skip-invalid sends the others)`;
      throw Object.assign(new UsageError([many, ...lines].join('\n')), { rows: invalid });
    }
    const most = [...costly].toSorted(([, one], [, other]) => other - one).slice(0, MOST);
    return {
      rows,
      due,
      segments,
      costly: Object.fromEntries(most),
      skipped,
      countries,
      doubled: { count: doubledCount, rows: doubled },
    };
  }

  /** Sends the due rows. Returns the reason if it ended before the last row. */
  async send(sms: RtSmsService, stopped: AbortSignal, progress: Progress | undefined): Promise<string | undefined> {
    const giveUp = new AbortController();
    const signal = AbortSignal.any([stopped, giveUp.signal]);
    let ended: string | undefined;
    let silent = 0;
    try {
      for await (const result of sms.sendMany(this.messages(), { signal, concurrency: CONCURRENCY })) {
        const outcome = this.settle(result);
        silent = outcome === 'not_sent' || outcome === 'unknown' ? silent + 1 : 0;
        if (silent >= GIVE_UP_AFTER && !result.ok) {
          giveUp.abort();
          ended ??= `Given up: ${silent} in a row without an answer. Last error: ${result.error.message}`;
        }
        progress?.show(this.counts);
      }
    } catch (error) {
      ended ??= error instanceof RtSmsAbortedError ? 'Stopped' : messageOf(error);
    }
    this.over = true;
    try {
      // Recorded, but not started before the end: these have provably not left.
      for (const [message, { row, masked }] of this.open) {
        this.results.write(row, masked, 'not_sent');
        this.open.delete(message);
      }
    } catch (error) {
      this.countOpenAsUnknown();
      ended ??= messageOf(error);
    }
    progress?.end();
    return ended;
  }

  /** Yields messages in batches: a batch is recorded as `sending` and flushed to disk before its first request. */
  private async *messages(): AsyncGenerator<SmsMessage> {
    let next: SmsMessage[] = [];
    for await (const row of this.file.rows()) {
      if (this.over) return;
      if (this.whySkipped(row) !== undefined) continue;
      const about = { row: row.row, masked: maskNumber(row.msisdn) };
      this.results.write(about.row, about.masked, 'sending');
      this.open.set(row.message, about);
      next.push(row.message);
      if (this.open.size < CONCURRENCY) continue;
      await this.results.flush();
      yield* next;
      next = [];
    }
    await this.results.flush();
    yield* next;
  }

  private settle(result: SendResult): RtSmsOutcome | 'sent' {
    const { row, masked } = this.open.get(result.message)!;
    this.open.delete(result.message);
    const outcome = result.ok ? 'sent' : (result.error.outcome ?? 'unknown');
    this.counts[outcome]++;
    try {
      if (result.ok) this.results.write(row, masked, outcome, result.sent.uid);
      else this.results.write(row, masked, outcome, '', reasonOf(result.error));
    } catch (error) {
      this.counts[outcome]--;
      this.counts.unknown++;
      this.countOpenAsUnknown();
      throw error;
    }
    return outcome;
  }

  /** Handles a failed write: the next run takes the rows that are left as `sending` for unknown. */
  private countOpenAsUnknown(): void {
    this.counts.unknown += this.open.size;
    this.open.clear();
  }

  private whySkipped(row: Row): keyof Plan['skipped'] | undefined {
    const before = this.results.outcomeOf(row.row, maskNumber(row.msisdn));
    if (before === 'sent' || (before === 'unknown' && !this.again)) return before;
    if (row.problems.length > 0) return 'invalid';
    return this.repeats.has(row.row) ? 'doubled' : undefined;
  }
}

/** The earlier row with this number and text, if there is one. */
function earlierRow(firstRows: Map<string, number>, { row, msisdn, message }: Row): number | undefined {
  const digest = hash('sha256', `${msisdn}\n${message.text}`, 'base64').slice(0, 20);
  const first = firstRows.get(digest);
  if (first === undefined) firstRows.set(digest, row);
  return first;
}

/** Notices for the user before the file is sent. */
function noticesOf({ countries, doubled, skipped, costly }: Plan): string[] {
  const notices: string[] = [];
  const each = Object.entries(costly).map(([character, count]) => `${seen(character)} in ${counted(count, 'row')}`);
  if (each.length > 0)
    notices.push(
      `Characters that make Latin texts UCS-2, with less than half as many characters a segment: ${each.join(', ')}`,
    );
  const abroad = Object.entries(countries).filter(([country]) => country !== 'RU');
  if (abroad.length > 0) {
    const names = new Intl.DisplayNames('en', { type: 'region', style: 'short' });
    const each = abroad
      .toSorted(([, one], [, other]) => other - one)
      .map(([country, count]) => `${country === 'ZZ' ? 'no country' : (names.of(country) ?? country)} ${count}`);
    notices.push(`Outside Russia: ${each.join(', ')}`);
  }
  if (doubled.count > 0) {
    const each = doubled.rows.map(({ row, sameAs }) => `row ${row} as row ${sameAs}`);
    if (doubled.count > each.length) each.push(`and ${doubled.count - each.length} more`);
    const advice = skipped.doubled > 0 ? 'only the first is sent' : 'all are sent; --skip-doubled sends only the first';
    notices.push(`The same number and text (${advice}): ${each.join(', ')}`);
  }
  return notices;
}

const reasonOf = (error: RtSmsError) => (error instanceof RtSmsRejectedError ? error.reason : undefined) ?? error.code;
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** A character, or its code if it would not be seen or would act on the terminal. */
const seen = (character: string) =>
  /[\p{C}\p{Z}\p{M}]/u.test(character)
    ? `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`
    : character;

/** Asks on the terminal whether to go on. @throws UsageError if the answer is not yes, or there is no terminal */
async function confirm(why: string, signal: AbortSignal): Promise<void> {
  if (!process.stdin.isTTY) throw new UsageError(`Nothing was sent. ${why}`);
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(`${why} Send them? (yes/no) `, { signal }).catch(() => 'no');
    if (!/^(y|yes)$/i.test(answer.trim())) throw new UsageError('Nothing was sent');
  } finally {
    lines.close();
  }
}
