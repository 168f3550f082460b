import type { EngineEvents, RtSmsError } from 'nestjs-rt-sms';
import { readRef } from './check-data.js';
import type { SendData } from './job-data.js';

interface Outcome {
  /** Id of the message. */
  id: string;
  data: SendData;
  error: RtSmsError | undefined;
}

/** Emits the event of a settled message. Resolves to true if every handler succeeded. */
export function emitOutcome(emit: EngineEvents, { id, data, error }: Outcome): Promise<boolean> {
  const ref = readRef(data);
  switch (data.state!) {
    case 'accepted':
      return emit.accepted(id, data.uid!, ref);
    case 'refused':
      return emit.refused(id, error!, ref);
    case 'unknown':
      return emit.outcomeUnknown(id, error!, ref);
    case 'expired':
      return emit.expired(id, ref);
    default:
      return emit.cancelled(id, ref);
  }
}

/** True if the engine can have stored this outcome. */
export const isOutcome = ({ state, uid, sentAt }: SendData): boolean =>
  state === 'accepted'
    ? typeof uid === 'string' && Number.isFinite(sentAt)
    : ['refused', 'unknown', 'expired', 'cancelled'].includes(state!);
