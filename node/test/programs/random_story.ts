// A workflow made of a seed: a tree of steps that is run by the code below, and what must come of it,
// told by a second reading of the same tree that knows no engine.
import type { WorkflowContext } from 'pawl';

type Step =
  | { kind: 'echo'; value: number }
  | { kind: 'flaky' }
  | { kind: 'broken' }
  | { kind: 'state'; value: number }
  | { kind: 'data'; value: number }
  | { kind: 'wait' }
  | { kind: 'filtered'; value: number }
  | { kind: 'own'; value: number }
  | { kind: 'race' }
  | { kind: 'condition'; value: number }
  | { kind: 'child'; value: number }
  | { kind: 'together'; branches: Step[][] };

/** The same numbers from the same seed, on every machine: Marsaglia's xorshift with 32 bits. */
function numbers(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

const alone = ['wait', 'filtered', 'own', 'race', 'condition', 'child'] as const;
const anywhere = ['echo', 'flaky', 'broken', 'state', 'data'] as const;

function grow(next: (below: number) => number, length: number, depth: number): Step[] {
  return Array.from({ length }, (): Step => {
    if (depth > 0 && next(4) === 0) {
      const branches = Array.from({ length: 2 + next(3) }, () => grow(next, 1 + next(3), depth - 1));
      return { kind: 'together', branches };
    }
    // What waits for events, or counts on nobody beside it, stands on the outermost level only.
    const kinds = depth === 2 ? [...anywhere, ...alone] : anywhere;
    return { kind: kinds[next(kinds.length)]!, value: next(1_000) } as Step;
  });
}

async function run(steps: readonly Step[], context: WorkflowContext, taken: unknown[]): Promise<unknown[]> {
  const { actions, events, data, setState, any, sleep, condition, startChild } = context;
  for (const step of steps) {
    switch (step.kind) {
      case 'echo':
        taken.push((await actions['echo']!({ n: step.value })).n);
        break;
      case 'flaky':
        taken.push(await actions['flaky']!());
        break;
      case 'broken':
        taken.push(await actions['broken']!().catch((error: Error) => error.message));
        break;
      case 'state':
        setState(`state ${step.value}`);
        break;
      case 'data':
        data.set(`key ${step.value % 5}`, { value: step.value });
        taken.push(data.get(`key ${step.value % 5}`).value);
        break;
      case 'wait':
        taken.push((await events.waitFor(['Next', 'Other'])).payload);
        break;
      case 'filtered':
        taken.push((await events.waitFor('Odd', { filter: ({ payload }) => payload === step.value })).payload);
        break;
      case 'own':
        await events.emit('Own', step.value);
        taken.push((await events.waitFor('Own', { timeout: '1h' })).payload);
        break;
      case 'race':
        taken.push(await any([events.waitFor('Never'), sleep(1).then(() => 'slept'), sleep('1d')]));
        break;
      case 'condition': {
        let met = false;
        void actions['echo']!({}).then(() => (met = true));
        await condition(() => met);
        taken.push(step.value);
        break;
      }
      case 'child':
        taken.push(await startChild('sequence', { initialData: { n: step.value } }).result());
        break;
      case 'together':
        taken.push(await Promise.all(step.branches.map((branch) => run(branch, context, []))));
        break;
    }
  }
  return taken;
}

/** What run() has to come to. */
function outcome(steps: readonly Step[], payloads: unknown[]): unknown[] {
  const taken: unknown[] = [];
  for (const step of steps) {
    switch (step.kind) {
      case 'flaky':
        taken.push('at last');
        break;
      case 'broken':
        taken.push('broken');
        break;
      case 'state':
        break;
      case 'wait':
        taken.push(payloads.shift());
        break;
      case 'race':
        taken.push('slept');
        break;
      case 'child':
        taken.push({ n: { n: 3 } });
        break;
      case 'together':
        taken.push(step.branches.map((branch) => outcome(branch, [])));
        break;
      default:
        taken.push(step.value);
    }
  }
  return taken;
}

export function randomStory(seed: number) {
  const next = numbers(seed);
  const rounds = 1 + next(3);
  const program = Array.from({ length: rounds }, () => grow(next, 3 + next(6), 2));
  const events: [string, unknown][] = [];
  const payloads: unknown[] = [];
  for (const step of program.flat()) {
    if (step.kind === 'wait') {
      payloads.push({ nth: payloads.length });
      events.push([payloads.length % 2 === 0 ? 'Next' : 'Other', payloads.at(-1)]);
    }
    if (step.kind === 'filtered') events.push(['Odd', step.value]);
  }
  const left = [...payloads];
  const expected = program.map((steps) => outcome(steps, left));
  return {
    expected,
    input: { round: 0, before: [] as unknown[] },
    events,
    async run(context: WorkflowContext): Promise<unknown> {
      const { round, before } = context.input;
      const all = [...before, await run(program[round]!, context, [])];
      return round + 1 < rounds ? context.continueAsNew({ round: round + 1, before: all }) : all;
    },
  };
}
