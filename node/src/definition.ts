import type { WorkflowContext, EventMap } from './context.js';
import { InvalidArgumentError } from './errors.js';
import { checkName } from './names.js';
import { checkOptions, checkText, checkTexts } from './options.js';

/** What is known of a workflow beside its code. Names and versions have up to 255 bytes. */
export interface WorkflowMetadata {
  /** What executions are started by. */
  name: string;
  description?: string;
  /** Executions stay on the version that they started with. Default '1.0.0'. */
  version?: string;
  author?: string;
  tags?: readonly string[];
}

/** The code of a workflow: `context` is typed by the events that it waits for and by its input. */
export type WorkflowFunction<Events extends EventMap = EventMap, Input = any, Result = any> = (
  context: WorkflowContext<Events, Input>,
) => Promise<Result>;

/**
 * What defineWorkflow gives, and the types that callers are held to: `runtime.startWorkflow` and
 * `runtime.getHandle` take them from here.
 */
export interface WorkflowDefinition<Events extends EventMap = any, Input = any, Result = any> {
  readonly name: string;
  readonly version: string;
  readonly metadata: Readonly<WorkflowMetadata>;
  readonly fn: WorkflowFunction<Events, Input, Result>;
}

/** The events of a definition: `EventsOf<typeof review>`. */
export type EventsOf<Definition extends WorkflowDefinition> =
  Definition extends WorkflowDefinition<infer Events, any, any> ? Events : never;

/** The input of a definition: `InputOf<typeof review>`. */
export type InputOf<Definition extends WorkflowDefinition> =
  Definition extends WorkflowDefinition<any, infer Input, any> ? Input : never;

/** The result of a definition: `ResultOf<typeof review>`. */
export type ResultOf<Definition extends WorkflowDefinition> =
  Definition extends WorkflowDefinition<any, any, infer Result> ? Result : never;

const metadataNames = ['name', 'description', 'version', 'author', 'tags'] as const;

/**
 * A workflow: a name, or more metadata, and an async function. Nothing runs before it is registered
 * with a runtime.
 *
 *     defineWorkflow('Approval', async (context) => { … })
 *     defineWorkflow<{ Approve: { by: string } }, Order, Receipt>({ name: 'Order', version: '2.0.0' }, …)
 *
 * The function must reach the same commands in the same order whenever it is given the same events:
 * what it needs from outside it gets through actions.
 *
 * The type arguments are optional: `Events`, from the name of an event to the type of its payload, so
 * that `events.waitFor(['Approve', 'Reject'])` gives a union told apart by `name`; `Input`, of
 * `context.input` and of `initialData`; `Result`, what the function returns. Without any of them,
 * payloads and input are `any` and the result is inferred; those left out behind another one are
 * `any`. They describe what is carried, as JSON carries it: write `string` where a `Date` is given.
 * Nothing checks at run time what comes from outside of the type-checker.
 *
 * Throws an InvalidArgumentError for a name or version that is empty or longer than 255 bytes, for
 * metadata that is misspelt or no text, and where there is no function.
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
  checkOptions(`The metadata of workflow '${name}'`, given, metadataNames);
  const version = checkName(given.version ?? '1.0.0', `The version of workflow '${name}'`);
  if (typeof fn !== 'function') {
    throw new InvalidArgumentError(`defineWorkflow('${name}') takes an async function second`);
  }
  for (const key of ['description', 'author'] as const) {
    checkText(`The ${key} of workflow '${name}'`, given[key]);
  }
  const tags = checkTexts(`The tags of workflow '${name}'`, given.tags);
  const metadata = Object.freeze({ ...given, ...(given.tags === undefined ? {} : { tags }) });
  return Object.freeze({ name, version, metadata, fn });
}
