// The TypeScript of the requirements document runs as it is written. The document is read where
// PAWL_REQUIREMENTS says; nothing of it is kept here but the words that tell its blocks apart. Each
// block is put, byte by byte, between imports and declarations before it and assertions after it,
// type-checked strictly, and run.
import assert from 'node:assert/strict';
import { spawnSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Postgres } from './support/postgres.js';

const packageFolder = fileURLToPath(new URL('..', import.meta.url));
const path = process.env['PAWL_REQUIREMENTS'] ?? '';
const skip =
  path === ''
    ? 'PAWL_REQUIREMENTS is not set: it names the requirements document'
    : existsSync(path)
      ? false
      : `PAWL_REQUIREMENTS names ${path}, which is not there`;

interface Frame {
  /** A word that this block alone has. */
  sign: RegExp;
  /** The file's name, where other blocks import it. */
  file?: string;
  before?: string | ((block: string) => string);
  after: string;
}

// Of all files that run by themselves.
const tools = `
import assert from 'node:assert/strict';
import * as pawl from 'pawl';
const tenant = 'acme';
/** Registers an action that notes its parameters, and fails where it is told to. */
function recorder(...names: string[]) {
  const calls: [string, any][] = [];
  for (const name of names) {
    pawl.getActionRegistry().registerAction(
      { name, parameters: [], unknown: 'allow', retry: { maxAttempts: 1 } },
      async (params) => {
        calls.push([name, params]);
        return name;
      },
    );
  }
  return calls;
}
async function send(execution_id: string, event_name: string, payload: unknown = {}) {
  return pawl.getWorkflowRuntime().submitEvent({ execution_id, event_name, payload, tenant, user_id: 'user-1' });
}
async function reach(id: string, state: string) {
  for (;;) {
    const now = await pawl.getWorkflowRuntime().getExecutionState(id, tenant);
    assert.ok(!now.isComplete || now.currentState === state, JSON.stringify(now.error));
    if (now.currentState === state) return now;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
const ended = (id: string) => pawl.getWorkflowRuntime().waitForWorkflowCompletion(id, tenant);
async function start(definition: pawl.WorkflowDefinition, initialData?: unknown) {
  pawl.getWorkflowRuntime().registerWorkflow(definition);
  return pawl.getWorkflowRuntime().startWorkflow(definition.name, { tenant, initialData });
}
const finish = async () => {
  await pawl.getWorkflowRuntime().close();
  console.log('all asserted');
};
`;
// On a store in PostgreSQL a runtime begins with it; behind the options of those that have some.
const begin = 'await pawl.getWorkflowRuntime().startWorker();';

const frames: Record<string, Frame> = {
  'basic structure': {
    sign: /\bmyWorkflow\b/,
    before: tools + begin,
    after: `
      const calls = recorder('DoSomething');
      const id = await start(myWorkflow);
      assert.equal((await pawl.getWorkflowRuntime().getExecutionState(id, tenant)).currentState, 'initial');
      await send(id, 'Start');
      assert.equal((await ended(id)).currentState, 'completed');
      assert.equal(calls.length, 1);
      assert.equal(typeof calls[0]![1].param1, 'string');
      await finish();`,
  },
  'control flow': {
    sign: /\brequireAdditionalApproval\b/,
    before: `${tools}${begin}
      interface InvoiceData { amount: number }
      interface Order { items: { id: number }[] }
      const flow = pawl.defineWorkflow('ControlFlow', async ({ actions, data, events }: pawl.WorkflowContext) => {
        const event = await events.waitFor('Decide');
`,
    after: `
      });
      const calls = recorder('requireAdditionalApproval', 'processApproval', 'processRejection', 'processItem');
      async function outcome(amount: number, status: string) {
        calls.length = 0;
        const id = await start(flow, { invoice: { amount }, order: { items: [{ id: 1 }, { id: 2 }] } });
        await send(id, 'Decide', { status });
        const state = await ended(id);
        return [state.status, calls.map(([name, params]) => name + (params.id ?? ''))];
      }
      assert.deepEqual(await outcome(1_500, 'approved'), [
        'completed',
        ['requireAdditionalApproval', 'processApproval', 'processItem1', 'processItem2'],
      ]);
      assert.deepEqual(await outcome(500, 'rejected'), ['completed', ['processRejection', 'processItem1', 'processItem2']]);
      assert.deepEqual(await outcome(500, 'else'), ['failed', []]);
      await finish();`,
  },
  'parallel execution': {
    sign: /\bvalidateInvoice\b/,
    before: `${tools}${begin}
      const flow = pawl.defineWorkflow('Parallel', async ({ actions }: pawl.WorkflowContext) => {
`,
    after: `
      });
      // None of them ends before all have begun.
      let begun = 0;
      let release = () => {};
      const all = new Promise<void>((resolve) => (release = resolve));
      for (const name of ['validate_invoice', 'check_budget', 'verify_approver']) {
        pawl.getActionRegistry().registerSimpleAction(name, '', [], async () => {
          if (++begun === 3) release();
          await all;
        });
      }
      assert.equal((await ended(await start(flow))).status, 'completed');
      assert.equal(begun, 3);
      await finish();`,
  },
  'error handling': {
    sign: /\briskyOperation\b/,
    before: `${tools}
      const lines: pawl.LogLine[] = [];
      pawl.getWorkflowRuntime(undefined, { log: (line) => void lines.push(line) });
      ${begin}
      const flow = pawl.defineWorkflow('Risky', async ({ actions, logger }: pawl.WorkflowContext) => {
`,
    after: `
      });
      const calls = recorder('handleFailure');
      pawl.getActionRegistry().registerAction({ name: 'RiskyOperation', retry: { maxAttempts: 1 } }, () => {
        throw new RangeError('too risky');
      });
      assert.equal((await ended(await start(flow))).status, 'completed');
      assert.equal(calls.length, 1);
      assert.equal(lines.length, 1);
      assert.equal(lines[0]!.level, 'error');
      assert.equal((lines[0]!.details[0] as Error).message, 'too risky');
      await finish();`,
  },
  metadata: {
    sign: /\bauthor:/,
    before: `${tools}${begin}
      const { defineWorkflow } = pawl;
`,
    after: `
      const { name, description, version, author, tags } = workflow.metadata;
      assert.ok(name && description && author && tags && tags.length === 2);
      assert.equal(workflow.name, name);
      const state = await ended(await start(workflow));
      assert.deepEqual([state.workflowName, state.version, state.status], [name, version, 'completed']);
      await finish();`,
  },
  'workflow context': {
    sign: /\basync function invoiceApprovalWorkflow\b/,
    file: 'invoiceApprovalWorkflow',
    before: `
      import { defineWorkflow, type WorkflowContext } from '../lib/workflow/core/workflowDefinition';
`,
    after: `
      const definition = defineWorkflow('InvoiceApproval', invoiceApprovalWorkflow);
      export { definition as invoiceApprovalWorkflow };`,
  },
  'runtime usage': {
    sign: /^(?![\s\S]*\bregisterDatabaseAction\b)[\s\S]*\bruntime\.submitEvent\b/,
    before: `${tools}
      const lines: string[] = [];
      const calls = recorder('UpdateInvoiceStatus');
      pawl.getWorkflowRuntime(undefined, { log: ({ message }) => void lines.push(message) });
      ${begin}
`,
    after: `
      const submitted = await reach(executionId, 'submitted');
      assert.equal(submitted.workflowName, 'InvoiceApproval');
      assert.equal(submitted.data['invoice'].amount, 500);
      const history = await runtime.getHistory(executionId, tenant);
      const submission = history.find(({ type }) => type === 'EventReceived')!;
      assert.ok(lines.some((line) => line.endsWith(submission.attributes['userId'])), 'logged who submitted');
      while (!lines.some((line) => /^Notification to /.test(line))) await new Promise((resolve) => setTimeout(resolve, 2));
      await send(executionId, 'Approve');
      assert.equal((await ended(executionId)).currentState, 'approved');
      assert.deepEqual(calls.map(([, params]) => params.status), ['approved']);
      const other = await start(invoiceApprovalWorkflow);
      await send(other, 'Submit');
      await reach(other, 'submitted');
      await send(other, 'Reject');
      assert.equal((await ended(other)).currentState, 'rejected');
      await finish();`,
  },
  'action registry': {
    sign: /\bSendInvoiceEmail\b/,
    before: `${tools}${begin}
      const { getActionRegistry } = pawl;
      // Keeps what the block asks for, to ask for it again.
      const asked: [string, pawl.ExecuteActionRequest][] = [];
      const { executeAction } = pawl.ActionRegistry.prototype;
      pawl.ActionRegistry.prototype.executeAction = function (name, request) {
        asked.push([name, request]);
        return executeAction.call(this, name, request);
      };
`,
    after: `
      assert.equal(result.sent, true);
      assert.ok(!Number.isNaN(Date.parse(result.timestamp)));
      const [description] = registry.getAllActions().filter(({ builtIn }) => !builtIn);
      assert.equal(description!.parameters.length, 3);
      const [[name, request]] = asked as [[string, pawl.ExecuteActionRequest]];
      const again = await registry.executeAction(name.replace(/(?<=[a-z])[A-Z]/g, '_$&').toLowerCase(), request);
      assert.deepEqual(again, result, 'ran once, under every spelling');
      const { recipient } = request.parameters as { recipient: string };
      await assert.rejects(
        registry.executeAction(name, { ...request, parameters: { recipient } }),
        pawl.ValidationError,
      );
      await finish();`,
  },
  'simple approval': {
    sign: /\bsimpleApprovalWorkflow\b/,
    before: tools,
    after: `
      const lines: string[] = [];
      pawl.getWorkflowRuntime(undefined, { log: ({ message }) => void lines.push(message) });
      ${begin}
      for (const [event, state] of [['Approve', 'approved'], ['Reject', 'rejected']] as const) {
        lines.length = 0;
        const id = await start(simpleApprovalWorkflow);
        assert.equal((await reach(id, 'draft')).status, 'running');
        await send(id, 'Submit');
        await reach(id, 'submitted');
        await send(id, event);
        assert.equal((await ended(id)).currentState, state);
        const history = await pawl.getWorkflowRuntime().getHistory(id, tenant);
        const completed = history.filter(({ type }) => type === 'ActionCompleted');
        assert.deepEqual(completed.map(({ name }) => name), ['log_event', 'log_event']);
        // Two of the workflow's logger, two of its actions.
        while (lines.length < 4) await new Promise((resolve) => setTimeout(resolve, 2));
        assert.equal(lines.length, 4);
      }
      await finish();`,
  },
  'distributed processing': {
    sign: /\bruntime\.enqueueEvent\b/,
    before: (block) => `${tools}
      const waiting = pawl.defineWorkflow('Waiting', async ({ events }: pawl.WorkflowContext) => {
        const { name, payload, user_id } = await events.waitFor('Approve');
        return { name, payload, user_id };
      });
      pawl.getWorkflowRuntime().registerWorkflow(waiting);
      ${begin}
      await pawl.getWorkflowRuntime().startWorkflow('Waiting', {
        tenant,
        executionId: '${/execution_id: '([^']+)'/.exec(block)![1]}',
      });
`,
    after: `
      const [execution] = (await runtime.listExecutions({ tenant })).executions;
      const { status, result } = await ended(execution!.executionId);
      assert.equal(status, 'completed');
      assert.equal(result.name, 'Approve');
      assert.ok(result.user_id && result.payload.approvedBy === result.user_id);
      await finish();`,
  },
  'action executor': {
    sign: /\bcreateActionExecutor\(/,
    before: `${tools}${begin}
      const { createActionExecutor } = pawl;
      const calls = recorder('CheckStock', 'ChargeCard');
      pawl.getActionRegistry().registerSimpleAction('BookCourier', '', [], async () => {
        throw new pawl.NonRetryableError('no courier today');
      });
      const event = { id: 'evt-1', name: 'Submit', payload: {} };
      const actionsToExecute: pawl.ActionToExecute[] = [
        { id: 'charge', name: 'ChargeCard', parameters: { amount: 5 }, dependsOn: ['stock'] },
        { id: 'stock', name: 'check_stock' },
        { id: 'courier', name: 'bookCourier', dependsOn: ['charge'] },
      ];
      const printed: string[] = [];
      const { log, error } = console;
      console.log = console.error = (line: string) => void printed.push(line);
`,
    after: `
      Object.assign(console, { log, error });
      assert.deepEqual(calls.map(([name]) => name), ['CheckStock', 'ChargeCard']);
      assert.equal(printed.length, 4);
      assert.match(printed[0]!, /3 actions/);
      assert.match(printed[1]!, /ChargeCard.*"ChargeCard"/);
      assert.match(printed[3]!, /bookCourier.*no courier today/);
      await finish();`,
  },
  'domain integration': {
    sign: /\bregisterDatabaseAction\(/,
    before: (block) => `${tools}
      import knexModule from 'knex';
      const { TransactionIsolationLevel } = pawl;
      const url = process.env['PAWL_TEST_POSTGRES'];
      const postgres = url === undefined ? undefined : knexModule({ client: 'pg', connection: url });
      const { database } = pawl.getWorkflowRuntime(pawl.getActionRegistry(), postgres && { database: postgres });
      ${begin}
      await database.schema.createTable('invoices', (table) => {
        table.string('id').primary();
        table.string('status');
      });
      const invoiceId = '${/id: '(inv-[^']+)'/.exec(block)![1]}';
      await database('invoices').insert([{ id: invoiceId, status: 'draft' }, { id: 'another', status: 'draft' }]);
`,
    after: `
      const invoices = () => database('invoices').orderBy('id').select('id', 'status');
      await reach(executionId, 'submitted');
      // The document's workflow names no invoice, which the action wants: nothing is written.
      await send(executionId, 'Approve');
      const { status, error } = await ended(executionId);
      assert.equal(status, 'failed');
      assert.match(error!.message, /invoiceId/);
      assert.ok((await invoices()).every(({ status }) => status === 'draft'));
      // One that does.
      runtime.registerWorkflow(
        pawl.defineWorkflow('Approval', async ({ actions, input }: pawl.WorkflowContext) =>
          actions.updateInvoiceStatus!({ ...input, status: 'approved' }),
        ),
      );
      const approval = async (id: string) =>
        (await ended(await runtime.startWorkflow('Approval', { tenant, initialData: { invoiceId: id } }))).result;
      assert.deepEqual(await approval(invoiceId), { updated: true });
      assert.deepEqual(await approval('none'), { updated: false });
      assert.deepEqual(await invoices(), [
        { id: 'another', status: 'draft' },
        { id: invoiceId, status: 'approved' },
      ]);
      const { isolation } = registry.getActionMetadata('update_invoice_status')!;
      assert.equal(isolation, pawl.TransactionIsolationLevel.REPEATABLE_READ);
      await finish();
      await postgres?.destroy();`,
  },
};

const blocks: Buffer[] = [];
const files = new Map<string, string>();
let folder = '';
let server: Postgres;

function blockWith(sign: RegExp): Buffer {
  const found = blocks.filter((block) => sign.test(block.toString()));
  assert.equal(found.length, 1, `${found.length} blocks have ${sign}`);
  return found[0]!;
}

function write(file: string, content: string | Buffer): void {
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(join(folder, file), content);
}

function readBlocks(): void {
  const document = readFileSync(path);
  const opening = Buffer.from('```typescript\n');
  for (let at = document.indexOf(opening); at !== -1; at = document.indexOf(opening, at)) {
    const from = at + opening.length;
    const to = document.indexOf('```', from);
    assert.ok(to > from, 'a block is not closed');
    blocks.push(document.subarray(from, to));
    at = to + 3;
  }
}

before(async () => {
  if (skip !== false) return;
  server = await Postgres.start();
  readBlocks();
  folder = mkdtempSync(join(tmpdir(), 'pawl-requirements-'));
  write('package.json', '{ "type": "module" }');
  write(
    'tsconfig.json',
    JSON.stringify({
      compilerOptions: {
        target: 'es2022',
        lib: ['es2023'],
        types: ['node'],
        module: 'esnext',
        moduleResolution: 'bundler',
        strict: true,
        noEmit: true,
      },
      include: ['workflows'],
    }),
  );
  write('lib/workflow/core/workflowDefinition.ts', "export * from 'pawl';\n");
  const shared = 'node_modules/@shared/workflow';
  write(
    `${shared}/package.json`,
    JSON.stringify({
      type: 'module',
      exports: { './core/*': { types: './core/*.d.ts', default: './core/*.js' } },
    }),
  );
  for (const module of ['workflowRuntime', 'actionRegistry']) {
    write(`${shared}/core/${module}.js`, "export * from 'pawl';\n");
    write(`${shared}/core/${module}.d.ts`, "export * from 'pawl';\n");
  }
  symlinkSync(packageFolder, join(folder, 'node_modules/pawl'));
  for (const name of ['@types', 'knex', 'pg']) {
    symlinkSync(join(packageFolder, 'node_modules', name), join(folder, 'node_modules', name));
  }
  for (const [name, frame] of Object.entries(frames)) {
    const file = `workflows/${frame.file ?? name.replaceAll(' ', '_')}.ts`;
    files.set(name, file);
    const block = blockWith(frame.sign);
    const before = typeof frame.before === 'function' ? frame.before(block.toString()) : (frame.before ?? '');
    // A file without an import or export of its own would be a script.
    write(file, Buffer.concat([Buffer.from(before), block, Buffer.from(`${frame.after}\nexport {};\n`)]));
  }
});

after(() => {
  server?.end();
  if (folder !== '') rmSync(folder, { recursive: true, force: true });
});

test('every TypeScript block of the document is accounted for', { skip }, () => {
  const signs = Object.entries(frames).map(([name, { sign }]) => [name, blockWith(sign)] as const);
  assert.equal(new Set(signs.map(([, block]) => block)).size, signs.length, 'two names for one block');
  assert.equal(blocks.length, signs.length, 'a block has no name');
});

test('the framed files have the blocks byte by byte', { skip }, () => {
  for (const [name, file] of files) {
    const block = blockWith(frames[name]!.sign);
    const framed = readFileSync(join(folder, file));
    assert.ok(block.length > 0 && framed.includes(block), name);
    assert.ok(readFileSync(path).includes(block), name);
  }
});

test('they pass the strict type-checker, which finds a planted error', { skip }, () => {
  const check = () =>
    spawnSync(process.execPath, [join(packageFolder, 'node_modules/typescript/bin/tsc'), '-p', folder], {
      encoding: 'utf8',
    });
  const found = check();
  assert.equal(found.status, 0, found.stdout);
  write('workflows/planted.ts', `import { defineWorkflow } from 'pawl';\ndefineWorkflow(5, (context) => context.nothing);\n`);
  const planted = check();
  rmSync(join(folder, 'workflows/planted.ts'));
  assert.notEqual(planted.status, 0);
  assert.match(planted.stdout, /planted\.ts/);
});

async function run(name: string, store: string, environment: Record<string, string> = {}): Promise<void> {
  const file = files.get(name)!;
  const running = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), join(folder, file)], {
    cwd: folder,
    env: { ...process.env, PAWL_STORE: store, ...environment },
  });
  let output = '';
  for (const stream of [running.stdout, running.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  const [code] = (await once(running, 'close')) as [number | null];
  assert.equal(code, 0, output);
  assert.match(output, /^all asserted$/m);
}

const file = (name: string) => `sqlite:${join(folder, `${name}.db`)}`;

for (const name of Object.keys(frames)) {
  // The context's workflow is run by the block that uses the runtime.
  if (frames[name]!.file !== undefined) continue;
  test(`runs: ${name}`, { skip }, () => run(name, file(name)));
  test(`runs on PostgreSQL: ${name}`, { skip }, async () => run(name, await server.emptyUrl()));
}

test('runs: domain integration, with its invoices in PostgreSQL', { skip }, async () =>
  run('domain integration', file('beside'), { PAWL_TEST_POSTGRES: await server.emptyUrl() }));
