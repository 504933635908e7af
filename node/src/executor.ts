import { createHash } from 'node:crypto';
import { encode } from './codec.js';
import { errorFromFailure } from './failures.js';
import { AlreadyExistsError, ExecutionFailedError, InvalidArgumentError } from './errors.js';
import {
  graphWorkflow,
  resultsFrom,
  wholeNumber,
  type ActionExecutionResult,
  type ActionToExecute,
  type CarriedResult,
  type GraphInput,
  type GraphOptions,
} from './graphs.js';
import { checkOptions, checkText, describeKind } from './options.js';
import type { ActionRegistry } from './registry.js';
import { getWorkflowRuntime, type WorkflowRuntime } from './runtime.js';

/** What createActionExecutor takes. */
export interface ExecutorOptions extends GraphOptions {
  /** Whose actions run. Default: the registry of the process. */
  registry?: ActionRegistry;
}

/**
 * What actions are executed for: an event as workflows get it or as it was sent. Only these members are
 * looked at.
 */
export interface CausingEvent {
  /** The same event with the same actions: the results of the first time, and nothing runs again. */
  id?: string;
  /** The same. */
  event_id?: string;
  user_id?: string | undefined;
  correlation_id?: string | undefined;
  [member: string]: unknown;
}

/** Runs graphs of actions outside of workflows, as durably as within. */
export class ActionExecutor {
  private runtime: WorkflowRuntime | undefined;

  /** @internal */
  constructor(private readonly options: ExecutorOptions) {
    checkOptions('createActionExecutor', options, ['registry', 'maxConcurrency']);
    if (options.maxConcurrency !== undefined) wholeNumber('maxConcurrency', options.maxConcurrency, 1);
  }

  /**
   * Runs the actions as their dependencies let them and gives what became of each, in the order given. It
   * survives a crash: call it again with the same event (`id` or `event_id`) and the same actions, and it
   * goes on with what is under way, or gives what was recorded. The actions together have `payloadBytesMax`
   * at most. A failure of an action is a result with
   * `success: false`. Rejects with an InvalidArgumentError, before anything runs, where an id comes twice, a
   * dependency is unknown or actions wait for one another; with a PayloadError for what can't be carried.
   */
  async executeActions(
    actions: readonly ActionToExecute[],
    event: CausingEvent,
    tenant: string,
  ): Promise<ActionExecutionResult[]> {
    if (!Array.isArray(actions)) {
      throw new InvalidArgumentError(`executeActions takes a list of actions, not ${describeKind(actions)}`);
    }
    if (typeof event !== 'object' || event === null) {
      throw new InvalidArgumentError(`executeActions takes the event that led to it, not ${describeKind(event)}`);
    }
    if (actions.length === 0) return [];
    const id = checkText('event.id', event.id ?? event.event_id);
    const { maxConcurrency } = this.options;
    const input: GraphInput = {
      actions,
      ...(maxConcurrency === undefined ? {} : { maxConcurrency }),
      ...(id === '' ? {} : { event: id }),
    };
    // The one of the first call: after its end nothing runs in the store of another one.
    this.runtime ??= getWorkflowRuntime(this.options.registry);
    const { runtime } = this;
    let executionId = id === '' ? undefined : idOf(id, actions);
    try {
      executionId = await runtime.startWorkflow(graphWorkflow.name, {
        tenant,
        initialData: input,
        ...(executionId === undefined ? {} : { executionId }),
        ...(typeof event.user_id === 'string' ? { userId: event.user_id } : {}),
        ...(typeof event.correlation_id === 'string' ? { correlationId: event.correlation_id } : {}),
      });
    } catch (error) {
      // The same actions for the same event, with another bound: they run, or did.
      if (!(error instanceof AlreadyExistsError) || executionId === undefined) throw error;
    }
    const ended = await runtime.waitForWorkflowCompletion(executionId, tenant);
    if (ended.status === 'completed') {
      const history = await runtime.getHistory(executionId, tenant);
      return resultsFrom(history.find(({ type }) => type === 'GraphCompleted')!.payload as CarriedResult[]);
    }
    const cause = ended.error === undefined ? undefined : errorFromFailure(ended.error);
    if (cause?.name === 'InvalidArgumentError') throw new InvalidArgumentError(cause.message);
    const status = ended.status as ExecutionFailedError['status'];
    throw new ExecutionFailedError(`The actions were not executed: ${cause?.message ?? status}`, executionId, status, cause);
  }
}

/** An executor of the runtime of this process. */
export function createActionExecutor(options: ExecutorOptions = {}): ActionExecutor {
  return new ActionExecutor(options);
}

/** The same whatever the order of members. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}

function idOf(eventId: string, actions: readonly ActionToExecute[]): string {
  // Encoded first: what can't be carried, or goes round in a circle, is refused there.
  const carried = sorted(JSON.parse(encode(actions, 'actions')));
  const digest = createHash('sha256').update(`${eventId}\0${JSON.stringify(carried)}`).digest('base64url');
  return `actions-${digest}`;
}
