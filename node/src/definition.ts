import type { WorkflowContext, EventMap } from './context.js';
import { InvalidArgumentError } from './errors.js';
import { checkName } from './names.js';

export interface WorkflowMetadata {
  name: string;
  description?: string;
  /** Executions stay on the version that they started with. Default '1.0.0'. */
  version?: string;
  author?: string;
  tags?: readonly string[];
}

export type WorkflowFunction<Events extends EventMap = EventMap, Input = any, Result = any> = (
  context: WorkflowContext<Events, Input>,
) => Promise<Result>;

export interface WorkflowDefinition<Events extends EventMap = any, Input = any, Result = any> {
  readonly name: string;
  readonly version: string;
  readonly metadata: Readonly<WorkflowMetadata>;
  readonly fn: WorkflowFunction<Events, Input, Result>;
}

/**
 * A workflow: a name, or more metadata, and an async function. Nothing runs before it is registered
 * with a runtime.
 *
 *     defineWorkflow('Approval', async (context) => { … })
 *     defineWorkflow<{ Approve: { by: string } }, Order, Receipt>({ name: 'Order', version: '2.0.0' }, …)
 *
 * The function must reach the same commands in the same order whenever it is given the same events:
 * what it needs from outside it gets through actions.
 */
export function defineWorkflow<Events extends EventMap = EventMap, Input = any, Result = any>(
  nameOrMetadata: string | WorkflowMetadata,
  fn: WorkflowFunction<Events, Input, Result>,
): WorkflowDefinition<Events, Input, Result> {
  if (typeof nameOrMetadata !== 'string' && (typeof nameOrMetadata !== 'object' || nameOrMetadata === null)) {
    throw new InvalidArgumentError('defineWorkflow takes a name or metadata with a name first');
  }
  const given = typeof nameOrMetadata === 'string' ? { name: nameOrMetadata } : nameOrMetadata;
  const name = checkName(given.name, 'The name of a workflow');
  const version = checkName(given.version ?? '1.0.0', `The version of workflow '${name}'`);
  if (typeof fn !== 'function') {
    throw new InvalidArgumentError(`defineWorkflow('${name}') takes an async function second`);
  }
  const metadata = Object.freeze({
    ...given,
    ...(given.tags === undefined ? {} : { tags: Object.freeze([...given.tags]) }),
  });
  return Object.freeze({ name, version, metadata, fn });
}
