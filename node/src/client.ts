import { loadAddon, type NativeClient } from './addon.js';
import { hasTags, reviveParsed } from './codec.js';
import { errorFromCode, InvalidArgumentError } from './errors.js';
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

/**
 * A process beside the runtime: it reads the store that one has open, here or in another process, and
 * needs none of the code of its workflows. What it reads is committed.
 */
export class WorkflowClient {
  /** @internal */
  constructor(private readonly native: NativeClient) {}

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
  if (typeof store !== 'string') throw new InvalidArgumentError("openClient takes a store: 'sqlite:FILE'");
  const native = new (loadAddon().Client)();
  const [code, message, subject] = JSON.parse(await native.open(store)) as [number, string, string];
  if (code !== 0) throw errorFromCode(code, message, subject);
  return new WorkflowClient(native);
}
