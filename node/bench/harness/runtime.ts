import { createActionRegistry, getWorkflowRuntime, type WorkflowDefinition, type WorkflowRuntime } from 'pawl';
import type { Store } from './store.js';

export const tenant = 'bench';

declare module 'pawl' {
  interface ActionTypes {
    benchStep: { parameters: { number: number }; result: number };
  }
}

/** With the workflow, and the action that most workloads run: it does nothing. */
export async function open(store: Store, workflow: WorkflowDefinition<any, any, any>): Promise<WorkflowRuntime> {
  const registry = createActionRegistry({ builtIns: false });
  registry.registerSimpleAction(
    'benchStep',
    'Does nothing',
    [{ name: 'number', type: 'number', required: true }],
    ({ number }) => number,
  );
  const runtime = getWorkflowRuntime(registry, { store: store.address });
  runtime.registerWorkflow(workflow);
  await runtime.startWorker();
  return runtime;
}

/** Throws unless it has completed with that result. */
export async function awaitCompletion(runtime: WorkflowRuntime, id: string, expected: unknown): Promise<void> {
  const { status, result } = await runtime.waitForWorkflowCompletion(id, tenant);
  if (status !== 'completed' || result !== expected) {
    throw new Error(`${status} with ${JSON.stringify(result)}, and not completed with ${JSON.stringify(expected)}`);
  }
}

export function submit(runtime: WorkflowRuntime, id: string, event: string) {
  return runtime.submitEvent({ execution_id: id, event_name: event, tenant });
}
