import { loadAddon, type NativeClient } from './addon.js';
import { hasTags, reviveParsed } from './codec.js';
import {
  DeadLetterChange,
  deadLetterFields,
  deadLetterFrom,
  deadLetterKey,
  deadLettersFrom,
  type DeadLetter,
  type DeadLetterList,
  type DeadLetterQuery,
} from './dead_letters.js';
import type { WorkflowDefinition } from './definition.js';
import { errorFromCode } from './errors.js';
import { checkName } from './names.js';
import { checkOptions } from './options.js';
import {
  checkSequence,
  historyFrom,
  listFields,
  listFrom,
  stateFrom,
  type ExecutionList,
  type ExecutionState,
  type HistoryRecord,
  type ListQuery,
} from './reading.js';
import {
  completionFields,
  controlFields,
  eventFields,
  failureFields,
  startFields,
  type ControlOptions,
  type ControlResult,
  type EnqueueEventResult,
  type EventSubmission,
  type StartWorkflowOptions,
} from './requests.js';
import { checkSqliteAddress } from './store_address.js';

function ignore(): void {}

/**
 * A process beside the runtime: it reads the store that one has open, and starts executions and sends
 * events by putting them into the inbox, where the runtime finds them within 50 ms. It runs no workflow
 * and no action, and needs none of their code. What it is told is durable, also while no runtime is
 * open: the next one takes it up.
 */
export class WorkflowClient {
  /** @internal */
  constructor(private readonly native: NativeClient) {}

  /**
   * Gives the execution's id once the start is durable; its code runs when a runtime that has it takes
   * it up. With an id or an idempotency key, the same again is the same execution, whoever starts it.
   *
   * Rejects with an AlreadyExistsError if the id or key is taken by a start with another input, a
   * PayloadError if `initialData` can't be carried, and a StoreError if the store can't be written.
   */
  startWorkflow(workflow: string | WorkflowDefinition, options: StartWorkflowOptions): Promise<string> {
    return this.settle(() => this.native.start(...startFields(workflow, options)));
  }

  /** Gives its answer as soon as the event is durable. The same idempotency key gives the first one's. */
  enqueueEvent(event: EventSubmission): Promise<EnqueueEventResult> {
    return this.settle(() => this.native.enqueue(...eventFields('enqueueEvent', event)));
  }

  /** As the runtime's; the status is that of the moment in which the wish became durable. */
  cancelWorkflow(executionId: string, tenant: string, options?: ControlOptions): Promise<ControlResult> {
    return this.settle(() =>
      this.native.control(0, ...controlFields('cancelWorkflow', executionId, tenant, options)),
    );
  }

  /** As the runtime's; the status is that of the moment in which the wish became durable. */
  terminateWorkflow(executionId: string, tenant: string, options?: ControlOptions): Promise<ControlResult> {
    return this.settle(() =>
      this.native.control(1, ...controlFields('terminateWorkflow', executionId, tenant, options)),
    );
  }

  /**
   * As the runtime's, settled once it is durable: a runtime takes it up then, or the next one that opens. Of
   * several for one action, the first counts.
   */
  completeAction(token: string, result?: unknown): Promise<void> {
    return this.settle(() => this.native.completeAction(...completionFields(token, result))).then(ignore);
  }

  /** As completeAction, with a failure, which is not followed by another attempt. */
  failAction(token: string, error: unknown): Promise<void> {
    return this.settle(() => this.native.completeAction(...failureFields(token, error, []))).then(ignore);
  }

  /** As of now, or as it was at a point of the history. */
  async getExecutionState(
    executionId: string,
    tenant: string,
    options: { atSequence?: number } = {},
  ): Promise<ExecutionState> {
    checkOptions('getExecutionState', options, ['atSequence']);
    const at = checkSequence(options.atSequence);
    return stateFrom(
      await this.settle(() =>
        this.native.state(checkName(tenant, 'tenant'), checkName(executionId, 'executionId'), at),
      ),
    );
  }

  /** All records, the oldest first. */
  async getHistory(executionId: string, tenant: string): Promise<HistoryRecord[]> {
    return historyFrom(
      await this.settle(() =>
        this.native.history(checkName(tenant, 'tenant'), checkName(executionId, 'executionId')),
      ),
    );
  }

  /** Those of a tenant, page by page. */
  async listExecutions(query: ListQuery): Promise<ExecutionList> {
    return listFrom(await this.settle(() => this.native.list(...listFields(query))));
  }

  /** As the runtime's. */
  async listDeadLetters(query: DeadLetterQuery): Promise<DeadLetterList> {
    return deadLettersFrom(await this.settle(() => this.native.listDeadLetters(...deadLetterFields(query))));
  }

  /** As the runtime's: a runtime takes it up then, or the next one that opens. */
  async retryDeadLetter(id: string, tenant: string): Promise<DeadLetter> {
    return this.changeDeadLetter(DeadLetterChange.retry, id, tenant);
  }

  /** As the runtime's. */
  async dropDeadLetter(id: string, tenant: string): Promise<DeadLetter> {
    return this.changeDeadLetter(DeadLetterChange.drop, id, tenant);
  }

  private async changeDeadLetter(change: DeadLetterChange, id: string, tenant: string): Promise<DeadLetter> {
    return deadLetterFrom(
      await this.settle(() => this.native.changeDeadLetter(change, ...deadLetterKey(id, tenant))),
    );
  }

  /** Waits for calls under way; later ones reject with a ClosedError. */
  close(): Promise<void> {
    return this.settle(() => this.native.close()).then(() => undefined);
  }

  private async settle(call: () => Promise<string>): Promise<any> {
    const text = await call();
    const [code, value, subject] = JSON.parse(text) as [number, any, string];
    if (code === 0) return hasTags(text) ? reviveParsed(value) : value;
    throw errorFromCode(code, value, subject);
  }
}

/**
 * Opens a store ('sqlite:FILE') that a runtime has made, beside it.
 *
 * Rejects with a StoreError if there is no such file, it can't be read, or it is of another version.
 */
export async function openClient(store: string): Promise<WorkflowClient> {
  const file = checkSqliteAddress('openClient', store, 'A client beside PostgreSQL is not there yet');
  const native = new (loadAddon().Client)();
  const [code, message, subject] = JSON.parse(await native.open(file)) as [number, string, string];
  if (code !== 0) throw errorFromCode(code, message, subject);
  return new WorkflowClient(native);
}
