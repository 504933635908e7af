/** What was sent to executions and could not be delivered, for operators. */
import { InvalidArgumentError } from './errors.js';
import { checkName, checkOptionalName } from './names.js';
import { checkOptions, describeKind } from './options.js';
import { checkLimit } from './reading.js';
import type { CarriedPayload } from './wire.js';

/** What was sent to an execution that had ended, is not there, or ended one worker after the other. */
export interface DeadLetter {
  /** Of its row; of an event that was enqueued, its processingId. */
  id: string;
  tenant: string;
  executionId: string;
  /**
   * 'event'; 'start' and 'child_ended' of children; 'completion' of an action; 'cancel', 'terminate', 'pause',
   * 'resume', 'try_again', 'retry' of operators and parents.
   */
  kind: string;
  eventId: string;
  /** Of the event, or of the workflow that was to be started. */
  name: string;
  payload?: any;
  userId?: string;
  idempotencyKey?: string;
  /** How often it was retried. */
  attempts: number;
  /** Why it was not delivered, the last time. */
  error: string;
  /** When it was sent: milliseconds since 1970. */
  acceptedAt: number;
}

/** Which ones listDeadLetters gives. */
export interface DeadLetterQuery {
  tenant: string;
  executionId?: string;
  /** 1 to 1,000; default 100. A page has fewer where payloads are large (8 MiB). */
  limit?: number;
  /** As given with the last page. */
  cursor?: string;
}

/** A page of them. */
export interface DeadLetterList {
  /** The oldest first. */
  letters: DeadLetter[];
  /** Of the next page; absent on the last one. */
  cursor?: string;
}

/** The numbers are those of the addon. */
export const enum DeadLetterChange {
  retry = 0,
  drop = 1,
}

export type CarriedLetter = Omit<DeadLetter, 'payload' | 'userId' | 'idempotencyKey'> & {
  payload: CarriedPayload;
  userId: string;
  idempotencyKey: string;
};

/** tenant, executionId, cursor, limit; absent texts are ''. */
export function deadLetterFields(query: DeadLetterQuery): [string, string, string, number] {
  checkOptions('listDeadLetters', query, ['tenant', 'executionId', 'limit', 'cursor']);
  return [
    checkName(query?.tenant, 'tenant'),
    checkOptionalName(query.executionId, 'executionId'),
    checkOptionalName(query.cursor, 'cursor'),
    checkLimit(query.limit),
  ];
}

/** tenant, id */
export function deadLetterKey(id: string, tenant: string): [string, string] {
  if (typeof id !== 'string') {
    throw new InvalidArgumentError(`The id of a dead letter must be a string, not ${describeKind(id)}`);
  }
  return [checkName(tenant, 'tenant'), checkName(id, 'The id of a dead letter')];
}

export function deadLetterFrom({ payload, userId, idempotencyKey, ...carried }: CarriedLetter): DeadLetter {
  return {
    ...carried,
    ...(payload.length === 1 ? { payload: payload[0] } : {}),
    ...(userId === '' ? {} : { userId }),
    ...(idempotencyKey === '' ? {} : { idempotencyKey }),
  };
}

export function deadLettersFrom({ letters, cursor }: { letters: CarriedLetter[]; cursor: string }): DeadLetterList {
  return { letters: letters.map(deadLetterFrom), ...(cursor === '' ? {} : { cursor }) };
}
