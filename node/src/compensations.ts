import type { ActionParametersOf, AllOptional } from './action_types.js';
import { decode } from './codec.js';
import { CompensationError, type FailedCompensation } from './errors.js';
import { prepareAction, type Instance, type PreparedAction } from './instance.js';
import { CommandKind, type ActionCallOptions } from './wire.js';

/**
 * Actions that undo what the workflow has done so far. The list is the code's own: nothing runs by
 * itself, neither on failure nor on cancellation.
 */
export interface WorkflowCompensations {
  /**
   * Adds the action that undoes what was just done. Takes a snapshot of the parameters; throws a
   * PayloadError where they can't be carried, an InvalidArgumentError for a name or options that make
   * no sense.
   */
  add<Name extends string>(
    action: Name,
    ...call: AllOptional<ActionParametersOf<Name>> extends true
      ? [parameters?: ActionParametersOf<Name>, options?: ActionCallOptions]
      : [parameters: ActionParametersOf<Name>, options?: ActionCallOptions]
  ): void;
  /**
   * Runs what was added and did not run yet: the last one first, one after the other, each once. One
   * that fails after its last attempt does not keep the others from running; then this rejects with a
   * {@link CompensationError} that has them all. One that is under way when the execution is cancelled
   * counts as failed, since nobody knows how far it came.
   */
  run(): Promise<void>;
}

export function makeCompensations(instance: Instance): WorkflowCompensations {
  let added: PreparedAction[] = [];
  // Of two runs at once the second one waits for the first.
  let tail: Promise<unknown> = Promise.resolve();

  const runAll = async (actions: readonly PreparedAction[]): Promise<void> => {
    const failed: FailedCompensation[] = [];
    for (const action of actions) {
      if (!instance.enter('compensations.run')) return;
      try {
        await instance.runAction(action);
      } catch (error) {
        failed.push({ action: action.name, parameters: decode(action.parameters), error: error as Error });
      }
    }
    if (failed.length > 0) throw new CompensationError(failed, actions.length);
  };

  return {
    add(action: string, parameters?: unknown, options?: ActionCallOptions) {
      if (!instance.enter('compensations.add')) return;
      const site = instance.start.sites.find(CommandKind.scheduleAction, `compensation ${action}`);
      added.push({ ...prepareAction(instance, action, parameters, options), site });
    },
    run() {
      if (!instance.enter('compensations.run')) return new Promise(() => {});
      const actions = added.reverse();
      added = [];
      const ran = tail.then(() => runAll(actions));
      tail = ran.catch(() => {});
      return ran;
    },
  } as WorkflowCompensations;
}
