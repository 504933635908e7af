import type { WorkflowContext } from './context.js';
import { defineWorkflow, type WorkflowDefinition } from './definition.js';
import { errorFromFailure, type Failure } from './failures.js';
import { InvalidArgumentError } from './errors.js';
import { prepareAction, type Instance } from './instance.js';
import { checkOptions, checkText, checkTexts, describeKind } from './options.js';
import { actionCallOptionNames, type ActionCallOptions, type FlatWriter } from './wire.js';

/** What becomes of a graph when one of its actions has failed for good. */
export type ErrorStrategy = 'stop' | 'continue' | 'retry' | 'compensate';

/** The numbers are those of the addon. */
const strategies: readonly ErrorStrategy[] = ['stop', 'continue', 'retry', 'compensate'];

/** An action that undoes another one. */
export interface CompensationAction extends ActionCallOptions {
  name: string;
  parameters?: any;
}

/** One action of a graph. */
export interface ActionToExecute extends ActionCallOptions {
  /** Unique in the graph. */
  id: string;
  /** Of a registered action, in any casing. */
  name: string;
  parameters?: any;
  /** Ids of actions, sync points and groups: it begins when all of them are done. */
  dependsOn?: readonly string[];
  /** Others can depend on all actions of a group. */
  group?: string;
  /** A join that others wait on: it is reached when all actions that name it are done. */
  syncPoint?: string;
  /**
   * 'stop' (the default): what depends on it does not run, and nothing else begins; what runs ends.
   * 'continue': it counts as done. 'retry': `maxRetries` more attempts, whatever the failure, then as
   * 'stop'. 'compensate': as 'stop'; then the compensations of what had succeeded run, the last first.
   */
  errorStrategy?: ErrorStrategy;
  /** With 'retry': attempts after the first. Default 3. */
  maxRetries?: number;
  /** Run one after the other when it is to be undone. */
  compensationActions?: readonly CompensationAction[];
}

/** How a graph is run. */
export interface GraphOptions {
  /** So many actions run at once. Default 10. */
  maxConcurrency?: number;
}

/** What an action did to undo another one. */
export interface CompensationResult {
  actionName: string;
  success: boolean;
  result?: any;
  error?: Error;
  /** 0: it did not run. */
  attempts: number;
}

/** What became of one action of a graph. */
export interface ActionExecutionResult extends CompensationResult {
  actionId: string;
  /** Of one that was undone: how that went. */
  compensations?: CompensationResult[];
}

type Carried<T> = Omit<T, 'error' | 'compensations'> & { error?: Failure; compensations?: CarriedCompensation[] };
type CarriedCompensation = Omit<CompensationResult, 'error'> & { error?: Failure };
/** Before errors are made of it. */
export type CarriedResult = Carried<ActionExecutionResult>;

function revive<T extends { error?: Failure }>(carried: T): Omit<T, 'error'> & { error?: Error } {
  const { error, ...rest } = carried;
  return error === undefined ? rest : { ...rest, error: errorFromFailure(error) };
}

/** Failures become errors. */
export function resultsFrom(carried: CarriedResult[]): ActionExecutionResult[] {
  return carried.map((each) => {
    const { compensations, ...own } = each;
    const result: ActionExecutionResult = revive(own);
    if (compensations !== undefined) result.compensations = compensations.map(revive);
    return result;
  });
}

const callNames = ['name', 'parameters', ...actionCallOptionNames] as const;
const actionNames = [
  ...callNames,
  'id',
  'dependsOn',
  'group',
  'syncPoint',
  'errorStrategy',
  'maxRetries',
  'compensationActions',
] as const;

/** From `least` to a million. */
export function wholeNumber(what: string, value: unknown, least: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= 1_000_000) {
    return value as number;
  }
  const given = typeof value === 'number' ? value : describeKind(value);
  throw new InvalidArgumentError(`${what} must be a whole number from ${least} to 1000000, not ${given}`);
}

function append(out: FlatWriter, more: FlatWriter): void {
  for (const each of more) out.push(each);
}

function writeCall(out: FlatWriter, instance: Instance, { name, parameters, ...more }: CompensationAction): void {
  const options: ActionCallOptions = Object.fromEntries(
    Object.entries(more).filter(([option]) => actionCallOptionNames.includes(option as keyof ActionCallOptions)),
  );
  const call = prepareAction(instance, name, parameters, options);
  out.push(call.name, call.parameters);
  append(out, call.options);
}

/** Appends an action; gives how many positions it takes. */
function writeAction(out: FlatWriter, instance: Instance, action: ActionToExecute, index: number): number {
  if (typeof action !== 'object' || action === null) {
    throw new InvalidArgumentError(`actions[${index}] must be an object with id and name, not ${describeKind(action)}`);
  }
  const what = `actions[${index}]`;
  checkOptions(what, action, actionNames);
  out.push(checkText(`${what}.id`, action.id));
  writeCall(out, instance, action);
  const dependsOn = checkTexts(`${what}.dependsOn`, action.dependsOn);
  out.push(dependsOn.length);
  append(out, [...dependsOn]);
  out.push(checkText(`${what}.group`, action.group), checkText(`${what}.syncPoint`, action.syncPoint));
  const strategy = action.errorStrategy === undefined ? 0 : strategies.indexOf(action.errorStrategy);
  if (strategy < 0) {
    throw new InvalidArgumentError(
      `${what}.errorStrategy can be ${strategies.join(', ')}, not '${String(action.errorStrategy)}'`,
    );
  }
  const retries = action.maxRetries === undefined ? 3 : wholeNumber(`${what}.maxRetries`, action.maxRetries, 0);
  const compensations = action.compensationActions ?? [];
  if (!Array.isArray(compensations)) {
    throw new InvalidArgumentError(
      `${what}.compensationActions must be a list of actions, not ${describeKind(compensations)}`,
    );
  }
  out.push(strategy, strategy === strategies.indexOf('retry') ? retries : 0, compensations.length);
  compensations.forEach((compensation: CompensationAction, i) => {
    checkOptions(`${what}.compensationActions[${i}]`, compensation, callNames);
    writeCall(out, instance, compensation);
  });
  return 1 + compensations.length;
}

/** Throws an InvalidArgumentError for a graph that can't run, before anything does. */
export function executeActions(
  instance: Instance,
  actions: readonly ActionToExecute[],
  options: GraphOptions | undefined,
): Promise<ActionExecutionResult[]> {
  if (!Array.isArray(actions)) {
    throw new InvalidArgumentError(`executeActions takes a list of actions, not ${describeKind(actions)}`);
  }
  checkOptions('executeActions', options, ['maxConcurrency']);
  const concurrency =
    options?.maxConcurrency === undefined ? 10 : wholeNumber('maxConcurrency', options.maxConcurrency, 1);
  if (actions.length === 0) return Promise.resolve([]);
  const written: FlatWriter = [concurrency, actions.length];
  let positions = 0;
  actions.forEach((action: ActionToExecute, i) => (positions += writeAction(written, instance, action, i)));
  return instance.runGraph(written, positions).then((carried) => resultsFrom(carried as CarriedResult[]));
}

/** @internal What an executor hands over. */
export interface GraphInput {
  actions: readonly ActionToExecute[];
  maxConcurrency?: number;
  /** What it is for. */
  event?: string;
}

/** @internal What an executor starts: in the store it is a workflow like any other. */
export const graphWorkflow: WorkflowDefinition<any, any, void> = defineWorkflow(
  { name: 'pawl.executeActions', description: 'The actions of an ActionExecutor' },
  async (context: WorkflowContext) => {
    const { actions, maxConcurrency } = context.input as GraphInput;
    // What becomes of them is in the record of the graph's end, which has room for it.
    await context.executeActions(actions, maxConcurrency === undefined ? {} : { maxConcurrency });
  },
);
