import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { type Fault, planFault } from '../faults.js';
import { ADJUSTABLE, problemOfOption, type RtSmsSimulatorAdjustments } from '../options.js';
import type { RtSmsSimulator } from '../simulator.js';

/**
 * One step of a script; the steps run one after the other.
 *
 * - `{ send: fault, times? }`, `{ status: fault, times? }`: a fault for the next requests, as in `nextSend()`
 * - `{ set: { loss: 0.5 } }`: as in `adjust()`
 * - `{ report: status, err? }`: changes the status of the newest message and waits until its callback is answered
 * - `{ waitMs: 5000 }`, `{ waitMessages: 10 }`: waits for this time, or for this number of further messages
 * - `{ clear: true }`: removes the faults that have not been played yet
 */
export type ScriptStep =
  | { readonly send: Fault; readonly times?: number }
  | { readonly status: Fault; readonly times?: number }
  | { readonly set: RtSmsSimulatorAdjustments }
  | { readonly report: string; readonly err?: string }
  | { readonly waitMs: number }
  | { readonly waitMessages: number }
  | { readonly clear: true };

const ACCEPTED =
  '{ send | status: FAULT, times? }, { set: { loss, … } }, { report: STATUS, err? }, { waitMs }, { waitMessages } or { clear: true }';

/** @throws TypeError that lists the invalid steps and their problems */
export function readScript(json: string): ScriptStep[] {
  let steps: unknown;
  try {
    steps = JSON.parse(json);
  } catch (error) {
    throw new TypeError(`not JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  if (!Array.isArray(steps)) throw new TypeError('must be a list of steps');
  const problems = steps.flatMap((step, n) => {
    const problem = problemOf(step);
    return problem === undefined ? [] : [`step ${n + 1} ${problem}`];
  });
  if (problems.length > 0) throw new TypeError(problems.join('; '));
  return steps as ScriptStep[];
}

/** Plays the steps to their end or until the signal aborts. An abort does not reject. */
export async function playScript(
  gateway: RtSmsSimulator,
  steps: readonly ScriptStep[],
  signal: AbortSignal,
): Promise<void> {
  let accepted = gateway.messages.length;
  let newest = gateway.messages.at(-1)?.uid;
  const count = ({ uid }: { readonly uid: string }) => {
    accepted += 1;
    newest = uid;
  };
  gateway.on('message', count);
  // Number of messages that earlier `waitMessages` steps have consumed.
  let counted = accepted;
  try {
    for (const step of steps) {
      if (signal.aborted) return;
      if ('send' in step) gateway.nextSend(step.send, step.times);
      else if ('status' in step) gateway.nextStatus(step.status, step.times);
      else if ('set' in step) gateway.adjust(step.set);
      else if ('clear' in step) gateway.clearFaults();
      else if ('waitMs' in step) await setTimeout(step.waitMs, undefined, { signal });
      else if ('waitMessages' in step) {
        counted += step.waitMessages;
        while (accepted < counted) await once(gateway, 'message', { signal });
      } else if (newest !== undefined) {
        await gateway.report(newest, step.report, step.err === undefined ? {} : { err: step.err });
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    gateway.off('message', count);
  }
}

function problemOf(step: unknown): string | undefined {
  if (typeof step !== 'object' || step === null || Array.isArray(step)) return `must be an object: ${ACCEPTED}`;
  const { send, status, set, report, waitMs, waitMessages, clear, times, err, ...unknown } = step as Record<
    string,
    unknown
  >;
  const kinds = [send, status, set, report, waitMs, waitMessages, clear].filter((value) => value !== undefined);
  const extra = Object.keys(unknown)[0];
  if (extra !== undefined || kinds.length !== 1) return `must be one of ${ACCEPTED}`;
  const fault = send ?? status;
  if (times !== undefined && (fault === undefined || !isCount(times)))
    return 'times must be a whole number above 0, together with a fault';
  if (fault !== undefined) return problemOfFault(fault as Fault);
  if (set !== undefined) return problemOfSet(set);
  if (report !== undefined && (typeof report !== 'string' || report === '')) return 'report must be a status';
  if (err !== undefined && (report === undefined || typeof err !== 'string'))
    return 'err must be a string, together with report';
  if (waitMs !== undefined && !(typeof waitMs === 'number' && waitMs >= 0 && waitMs < 2 ** 31))
    return 'waitMs must be milliseconds, 0 or more';
  if (waitMessages !== undefined && !isCount(waitMessages)) return 'waitMessages must be a whole number above 0';
  return clear === undefined || clear === true ? undefined : 'clear must be true';
}

function problemOfFault(fault: Fault): string | undefined {
  try {
    planFault(fault);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function problemOfSet(set: unknown): string | undefined {
  const accepted: readonly string[] = ADJUSTABLE;
  if (typeof set !== 'object' || set === null) return `set must be an object of ${accepted.join(', ')}`;
  for (const [name, value] of Object.entries(set)) {
    const known = ADJUSTABLE.find((option) => option === name);
    if (!known) return `set has no ${name}; there are ${accepted.join(', ')}`;
    const problem = problemOfOption(known, value);
    if (problem !== undefined) return `set.${name} ${problem}`;
  }
  return undefined;
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) > 0;
}
