// The snippets of the guide are run too, in a process of their own, on a store of their own: what they
// print is what the page says behind `// →`, one line each.
//
// Every TypeScript snippet of the documentation passes the strict type-checker. Those of a page are
// one program, in their order: a later one sees what an earlier one has declared, and may declare it
// anew. What a page leaves to the reader is declared in a comment of its own line:
// <!-- ts: declare const order: { id: string }; -->
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defineWorkflow, type WorkflowContext } from 'pawl';
import { setUp, until } from './support/runtime.js';

const packageFolder = fileURLToPath(new URL('..', import.meta.url));
const root = join(packageFolder, '..');

interface Page {
  blocks: number;
  /** The snippets, each line where it is on the page. */
  module: string;
  /** What they add to modules, which only the top of a file can do. */
  augmentations: string;
}

/** The snippets of a page as a module: each in a scope inside of the one before. */
function frame(markdown: string): Page {
  const head: string[] = [];
  const lines: string[] = [];
  const augmentations: string[] = [];
  let blocks = 0;
  let inside: 'text' | 'snippet' | 'augmentation' | 'import' | 'other' = 'text';
  for (const line of markdown.split('\n')) {
    let code = '';
    let augmentation = '';
    if (inside === 'text') {
      const fence = /^ *```(\w*)/.exec(line);
      if (fence !== null) {
        inside = /^(ts|typescript)$/.test(fence[1]!) ? 'snippet' : 'other';
        if (inside === 'snippet') {
          blocks++;
          code = '{';
        }
      }
      head.push(...[...line.matchAll(/^<!-- ts: (.*) -->$/g)].map(([, declared]) => declared!));
    } else if (/^ *```/.test(line)) {
      inside = 'text';
    } else if (inside === 'import' || (inside === 'snippet' && /^import\b/.test(line))) {
      head.push(line);
      inside = line.trimEnd().endsWith(';') ? 'snippet' : 'import';
    } else if (inside === 'augmentation' || (inside === 'snippet' && /^declare (module|global)\b/.test(line))) {
      augmentation = line;
      inside = line.startsWith('}') ? 'snippet' : 'augmentation';
    } else if (inside === 'snippet') {
      code = line.replace(/^export (default )?/, '');
    }
    lines.push(code);
    augmentations.push(augmentation);
  }
  assert.equal(inside, 'text', 'a block is not closed');
  // The title of a page has no code, so there is room for all of it in the first line.
  assert.equal(lines[0], '', 'a page begins with its title');
  const imports = [...new Set(head.join('\n').match(/^import\b[^;]*;/gm) ?? [])];
  const names = new Map<string, Set<string>>();
  const others: string[] = [];
  for (const statement of imports) {
    const named = /^import \{([^}]*)\} from ('[^']*');$/.exec(statement);
    if (named === null) {
      others.push(statement.replaceAll('\n', ' '));
      continue;
    }
    const [, list, from] = named as unknown as [string, string, string];
    const known = names.get(from) ?? new Set();
    names.set(from, known);
    for (const name of list.split(',').map((one) => one.trim())) if (name !== '') known.add(name);
  }
  lines[0] = [
    ...[...names].map(([from, known]) => `import { ${[...known].join(', ')} } from ${from};`),
    ...others,
    ...head.filter((line) => line.startsWith('declare ')),
    'export {};',
  ].join(' ');
  augmentations[0] = 'export {};';
  return { blocks, module: lines.join('\n') + '}'.repeat(blocks), augmentations: augmentations.join('\n') };
}

function pages(): string[] {
  const inFolder = (folder: string) =>
    readdirSync(join(root, folder), { withFileTypes: true, recursive: folder !== '.' })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)))
      .filter((path) => !path.includes('node_modules'));
  return [...inFolder('.'), ...inFolder('docs')].sort();
}

const planted = `# Planted

\`\`\`ts
import {
  defineWorkflow,
} from 'pawl';

declare module 'pawl' {
  interface ActionTypes {
    planted: { parameters: { n: number } };
  }
}
export const one = defineWorkflow('One', async ({ actions }) => actions.planted({ n: 1 }));
\`\`\`

Text.

\`\`\`ts
const two = defineWorkflow('Two', async ({ actions }) => actions.planted({ n: one.name }));
\`\`\`
`;

/** A folder in which pages are programs that find the package and their types. */
function workshop(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'pawl-docs-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const write = (file: string, content: string) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), content);
  };
  write('package.json', '{ "type": "module" }');
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(packageFolder, join(folder, 'node_modules/pawl'));
  for (const name of ['@types', 'tsx']) {
    symlinkSync(join(packageFolder, 'node_modules', name), join(folder, 'node_modules', name));
  }
  return { folder, write };
}

test('snippets pass the strict type-checker, which finds a planted error in its line', (t) => {
  const { folder, write } = workshop(t);
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
        noUncheckedIndexedAccess: true,
        skipLibCheck: true,
        noEmit: true,
      },
    }),
  );

  const blocks = new Map<string, number>();
  for (const file of pages()) {
    const page = frame(readFileSync(join(root, file), 'utf8'));
    if (page.blocks === 0) continue;
    blocks.set(file, page.blocks);
    write(`${file}.ts`, page.module);
    write(`${file}.augmentations.ts`, page.augmentations);
  }
  for (const file of ['README.md', 'docs/typescript.md']) assert.ok(blocks.has(file), `${file} has no snippet`);
  const page = frame(planted);
  write('planted.md.ts', page.module);
  write('planted.md.augmentations.ts', page.augmentations);

  const tsc = join(packageFolder, 'node_modules/typescript/bin/tsc');
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const errors = stdout.split('\n').filter((line) => /error TS\d/.test(line));
  const place = `planted.md.ts(${planted.split('\n').findIndex((line) => line.startsWith('const two')) + 1},`;
  const others = errors.filter((line) => !line.startsWith(place));
  assert.deepEqual(others, [], 'FILE.md.ts(LINE,COLUMN) is that place of FILE.md');
  assert.equal(errors.length, 1, `no error at ${place}`);
  assert.match(errors[0]!, /error TS2322: Type 'string' is not assignable to type 'number'/);
  assert.notEqual(status, 0);
});

/** What a page says that it prints, and what it does print, each with the line of the page. */
function tell(t: TestContext, name: string, markdown: string) {
  const { folder, write } = workshop(t);
  const { module } = frame(markdown);
  const file = `${name}.ts`;
  write(file, module);
  const said: string[] = [];
  const lines = module.split('\n');
  for (const [index, line] of lines.entries()) {
    const result = /\/\/ → (.*)$/.exec(line)?.[1];
    assert.equal(/\bconsole\.log\(/.test(line), result !== undefined, `${name}:${index + 1}: a result and its print`);
    if (result !== undefined) said.push(`${index + 1}: ${result}`);
  }
  const ran = spawnSync(process.execPath, ['--import', 'tsx', file], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 240_000,
  });
  const places = said.map((one) => one.slice(0, one.indexOf(':')));
  const printed = ran.stdout
    .split('\n')
    .slice(0, -1)
    .map((line, index) => `${places[index] ?? 'nowhere'}: ${line}`);
  return { said, printed, status: ran.status, stderr: ran.stderr };
}

test('what the guide says that its snippets give is what they give', (t) => {
  const markdown = readFileSync(join(root, 'docs/guide.md'), 'utf8');
  for (const [, snippet] of markdown.matchAll(/^```ts\n(.*?)^```/gms)) {
    assert.match(snippet!, /\/\/ → /, 'a snippet that shows nothing');
  }
  const { said, printed, status, stderr } = tell(t, 'guide.md', markdown);
  assert.deepEqual(printed, said, `LINE: what it prints, LINE of docs/guide.md\n${stderr}`);
  assert.equal(status, 0, stderr);
});

test('a snippet that gives something else, or breaks, is found', (t) => {
  const page = (code: string) => `# Planted\n\n\`\`\`ts\n${code}\n\`\`\`\n`;
  const right = tell(t, 'right.md', page('console.log(1 + 1); // → 2'));
  assert.deepEqual([right.printed, right.status], [right.said, 0]);
  const wrong = tell(t, 'wrong.md', page('console.log(1 + 1); // → 3'));
  assert.deepEqual([wrong.printed, wrong.said], [['4: 2'], ['4: 3']]);
  const broken = tell(t, 'broken.md', page("console.log(1); // → 1\nawait Promise.reject(new Error('no'));"));
  assert.notEqual(broken.status, 0);
});

/** Links of a page that lead to no file or no title there. */
function brokenLinks(folder: string, page: string): string[] {
  const text = readFileSync(join(folder, page), 'utf8').replace(/^ *```.*?^ *```/gms, '');
  const titles = (markdown: string) =>
    [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, title]) => `#${title!.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-')}`);
  return [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)/g)]
    .filter(([, path, title]) => {
      const target = path === '' ? join(folder, page) : join(folder, dirname(page), path!);
      if (!existsSync(target)) return true;
      return title !== undefined && !titles(readFileSync(target, 'utf8')).includes(title);
    })
    .map(([link]) => `${page}: ${link}`);
}

test('links lead somewhere, in the repository and in the packages', (t) => {
  for (const page of pages()) assert.deepEqual(brokenLinks(root, page), []);
  for (const [kind, own] of [['npm', 'docs/typescript.md'], ['cpp', 'include/pawl']] as const) {
    const folder = mkdtempSync(join(tmpdir(), 'pawl-pages-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    if (kind === 'cpp') mkdirSync(join(folder, 'include/pawl'), { recursive: true });
    const copied = spawnSync(join(root, 'scripts/package_pages'), [kind, folder], { encoding: 'utf8' });
    assert.equal(copied.status, 0, copied.stderr);
    const shipped = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.md'));
    assert.ok(shipped.includes('README.md') && shipped.includes('docs/guide.md'), shipped.join());
    for (const page of shipped) assert.deepEqual(brokenLinks(folder, page), [], `${kind} package`);
    const readme = readFileSync(join(folder, 'README.md'), 'utf8');
    assert.ok(readme.includes(`](${own})`), `the README of the ${kind} package links to ${own}`);
    assert.doesNotMatch(readme, /CONTRIBUTING|ARCHITECTURE|make demo|not in packages/);
  }
});

/** What SQL gives, asked as an operator does: by another program, of a store that is in use. */
function query(store: string, sql: string): unknown[][] {
  const script =
    'import json, sqlite3, sys\n' +
    'print(json.dumps(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute(sys.argv[2]).fetchall()))';
  const { status, stdout, stderr } = spawnSync('python3', ['-c', script, store, sql], { encoding: 'utf8' });
  assert.equal(status, 0, `${sql}\n${stderr}`);
  return JSON.parse(stdout) as unknown[][];
}

test('the SQL of the manual finds what it says', async (t) => {
  const { runtime, registry, store } = setUp(t);
  const tenant = 'acme';
  const retry = { maxAttempts: 2, initialInterval: 1 };
  registry.registerAction({ name: 'Charge', retry }, (_, { attempt, executionId }) => {
    if (executionId === 'order-8') throw new Error('the bank is closed');
    if (executionId === 'order-7' && attempt === 1) throw new Error('the line is bad');
    return 'receipt';
  });
  const order = defineWorkflow('Order', async ({ actions, events, setState, sleep }: WorkflowContext) => {
    await events.waitFor('Paid');
    await actions['charge']!();
    setState('charged');
    await sleep('1h');
  });
  runtime.registerWorkflow(order);
  runtime.registerWorkflow(defineWorkflow('Ship', ({ actions }: WorkflowContext) => actions['ship']!()));
  registry.registerAction({ name: 'Wrap' }, async () => 'wrapped');
  const shipment = defineWorkflow('Shipment', async ({ executeActions }: WorkflowContext) => {
    await executeActions([
      { id: 'send', name: 'wrap', dependsOn: ['packed'] },
      { id: 'pack', name: 'wrap', syncPoint: 'packed', compensationActions: [{ name: 'unwrap' }] },
    ]);
  });
  runtime.registerWorkflow(shipment);
  await runtime.startWorkflow('Shipment', { tenant, executionId: 'shipment-9' });
  await runtime.waitForWorkflowCompletion('shipment-9', tenant);
  for (const executionId of ['order-7', 'order-8']) {
    await runtime.startWorkflow('Order', { tenant, executionId });
    await runtime.submitEvent({ tenant, execution_id: executionId, event_name: 'Paid', payload: { amount: 5 } });
  }
  await runtime.startWorkflow('Ship', { tenant, executionId: 'ship-1' });
  await registry.executeAction('Charge', { tenant, executionId: 'invoice', idempotencyKey: 'invoice-17' });
  await runtime.waitForWorkflowCompletion('order-8', tenant);
  await until(() => runtime.getExecutionState('order-7', tenant), ({ currentState }) => currentState === 'charged');
  await until(() => runtime.getExecutionState('ship-1', tenant), ({ condition }) => condition === 'no_action');

  const markdown = readFileSync(join(root, 'docs/typescript.md'), 'utf8');
  const rows = [...markdown.matchAll(/^```sql\n(.*?)^```/gms)].map(([, sql]) => query(store.replace(/^sqlite:/, ''), sql!));
  const [attention, counts, history, led, due, actions, key, graph, ...more] = rows;
  assert.deepEqual(more, []);
  assert.deepEqual(
    attention!.map((row) => row.slice(0, 6)).sort(),
    [
      ['order-8', 'Order', 'failed', null, null, 'the bank is closed'],
      ['ship-1', 'Ship', 'running', 'no_action', 'ship', null],
    ],
  );
  assert.deepEqual(counts, [
    ['Order', '1.0.0', 'failed', null, 1],
    ['Order', '1.0.0', 'running', 'waiting', 1],
    ['Ship', '1.0.0', 'running', 'no_action', 1],
    ['Shipment', '1.0.0', 'completed', null, 1],
  ]);
  assert.deepEqual(
    history!.map(([sequence, , type, name]) => [sequence, type, name]),
    (await runtime.getHistory('order-7', tenant)).map(({ sequence, type, name }) => [sequence, type, name === '' ? null : name]),
  );
  assert.deepEqual(led!.map((row) => row.slice(1)), [
    ['EventReceived', 'Paid', '{"amount":5}'],
    ['ActionScheduled', 'charge', '{}'],
    ['ActionAttemptFailed', 'charge', led![2]![3]],
    ['ActionCompleted', 'charge', '"receipt"'],
    ['StateChanged', 'charged', null],
    ['TimerStarted', null, null],
  ]);
  assert.deepEqual(due!.map((row) => row.slice(0, 3)), [['order-7', 'Order', 'sleep']]);
  assert.match(String(due![0]![3]), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
  assert.deepEqual(actions, [
    ['charge', 'failed', 1, 2, 'the bank is closed'],
    ['charge', 'succeeded', 1, 2, null],
  ]);
  assert.deepEqual(key, [['Charge', 'invoice', 'succeeded', 1]]);
  assert.deepEqual(graph, [
    ['send', 'wrap', '["packed"]', 'succeeded', 1],
    ['pack', 'wrap', '[]', 'succeeded', 1],
  ]);
  const undone = query(store.replace(/^sqlite:/, ''), 'SELECT action_name, status FROM graph_actions WHERE compensation = 1');
  assert.deepEqual(undone, [['unwrap', 'skipped']]);
  const joins = query(store.replace(/^sqlite:/, ''), 'SELECT name, status, actions FROM workflow_sync_points');
  assert.deepEqual(joins, [['packed', 'reached', '["pack"]']]);
});

test('the limits of the manual are those of the engine', () => {
  const markdown = readFileSync(join(root, 'docs/typescript.md'), 'utf8');
  const header = readFileSync(join(root, 'include/pawl/runtime.h'), 'utf8');
  const said = new Map([...markdown.matchAll(/^\| `(\w+Max)` \| ([\d,]+) \|/gm)].map(([, name, value]) => [name!, Number(value!.replaceAll(',', ''))]));
  const limits = readFileSync(join(packageFolder, 'src/runtime.ts'), 'utf8');
  const names = [.../limitNames = \[(.*?)\]/s.exec(limits)![1]!.matchAll(/'(\w+)'/g)].map(([, name]) => name!);
  assert.deepEqual([...said.keys()], names);
  for (const [name, value] of said) {
    const inHeader = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const [, factors] = new RegExp(`(?:size_t|DurationMs) ${inHeader} =\\s*([\\d' *]+);`).exec(header)!;
    assert.equal(value, factors!.replaceAll("'", '').split('*').reduce((product, factor) => product * Number(factor), 1), name);
  }
});
