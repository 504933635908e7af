import type { EventMap, PayloadArguments, PayloadOf } from './context.js';
import type { WorkflowDefinition } from './definition.js';
import { InvalidArgumentError } from './errors.js';
import type { Instance } from './instance.js';
import { checkName, checkOptionalName } from './names.js';
import { checkOptions, describeKind } from './options.js';
import { CommandKind } from './wire.js';

/** What becomes of a child when its parent ends, is cancelled or goes on as new before it. */
export type ParentClose = 'cancel' | 'terminate' | 'abandon';

/** How a child is started. What is left out is its parent's, where a parent has it. */
export interface ChildOptions<Input = any> {
  /** `context.input` of the child; the members of an object are the first content of its data. */
  initialData?: Input;
  /** Default: the highest that is registered. */
  version?: string;
  /**
   * Default: the parent's id, a slash and the position of the call, the same on every replay; after a
   * retry of the parent, a colon and the number of the retry too.
   */
  executionId?: string;
  userId?: string;
  correlationId?: string;
  /** Default 'cancel'. */
  parentClose?: ParentClose;
}

/**
 * A child execution, for the workflow that started it. It begins once the activation that started it is
 * durable, and goes on by itself: it need not be awaited.
 */
export interface ChildHandle<Events extends EventMap = EventMap, Result = any> {
  readonly executionId: string;
  readonly workflowName: string;
  /**
   * What its function returned, once it has. Rejects with a ChildFailedError if it ended otherwise;
   * the `cause` is the error that it ended with. When this execution is cancelled, the promises given so
   * far reject with the CancelledError; called again, in a `finally` say, it tells how the child ends.
   */
  result(): Promise<Result>;
  /** Asks it to end. What it ends with, `result()` still tells. */
  cancel(): void;
  /** An event to the child. As `context.events.emit` to its execution id. */
  emit<Name extends keyof Events & string>(
    name: Name,
    ...payload: PayloadArguments<PayloadOf<Events, Name>>
  ): Promise<void>;
}

/** `context.startChild`. */
export interface StartChild {
  /** Input, events and result as the definition types them. */
  <Events extends EventMap, Input, Result>(
    workflow: WorkflowDefinition<Events, Input, Result>,
    options?: ChildOptions<Input>,
  ): ChildHandle<Events, Result>;
  /** A workflow that may be registered elsewhere. */
  <Result = any>(workflow: string, options?: ChildOptions): ChildHandle<EventMap, Result>;
}

const parentCloses: readonly ParentClose[] = ['cancel', 'terminate', 'abandon'];
const optionNames = [
  'initialData',
  'version',
  'executionId',
  'userId',
  'correlationId',
  'parentClose',
] as const;

export type EmitTo = (executionId: string, name: string, payload: unknown) => Promise<void>;

export function makeStartChild(instance: Instance, emitTo: EmitTo): StartChild {
  return (workflow: string | WorkflowDefinition, options?: ChildOptions): ChildHandle => {
    const definition = typeof workflow === 'object' && workflow !== null ? workflow : undefined;
    const name = checkName(definition?.name ?? workflow, "The name of a child's workflow");
    const live = instance.enter('startChild');
    checkOptions('startChild', options, optionNames);
    const { initialData, version, executionId, userId, correlationId, parentClose = 'cancel' } = options ?? {};
    const close = parentCloses.indexOf(parentClose);
    if (close < 0) {
      throw new InvalidArgumentError(
        `parentClose must be one of ${parentCloses.map((one) => `'${one}'`).join(', ')}, not ` +
          (typeof parentClose === 'string' ? `'${String(parentClose)}'` : describeKind(parentClose)),
      );
    }
    const id = checkName(
      executionId ?? derivedId(instance),
      'The id of a child execution',
    );
    const versionText = checkOptionalName(version ?? definition?.version, 'version');
    const userText = checkOptionalName(userId, 'userId');
    const correlationText = checkOptionalName(correlationId, 'correlationId');
    const input = instance.encode(initialData, 'initialData');
    if (!live) return beyondTheEnd(id, name);
    const { position, promise } = instance.child(id);
    instance.ask(
      CommandKind.startChild,
      name,
      position,
      name,
      versionText,
      id,
      input,
      userText,
      correlationText,
      close,
    );
    return {
      executionId: id,
      workflowName: name,
      result: promise,
      cancel() {
        if (!instance.enter('cancel of a child') || !instance.awaitables.has(position)) return;
        instance.ask(CommandKind.cancelChild, name, position);
      },
      emit: (event: string, payload?: unknown) => emitTo(id, event, payload),
    };
  };
}

/** A retry starts other children than the activation that failed did. As `derived_child_id` in C++. */
function derivedId({ start, nextPosition, generation }: Instance): string {
  const id = `${start.executionId}/${nextPosition}`;
  return generation === 0 ? id : `${id}:${generation}`;
}

/** What code gets that runs on beyond the end of its workflow: nothing comes of it. */
function beyondTheEnd(executionId: string, workflowName: string): ChildHandle {
  const never = () => new Promise<never>(() => {});
  return { executionId, workflowName, result: never, cancel() {}, emit: never };
}
