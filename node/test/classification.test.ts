// What another attempt at an action is worth: codes of databases, of Node.js and of HTTP, and those who
// know better.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { defineWorkflow, type FailureClass, type WorkflowContext } from 'pawl';
import { closedPort } from './support/ports.js';
import { setUp, type Setting } from './support/runtime.js';

const tenant = 'acme';

/** Has an action throw it, once, and gives what the workflow is told of it. */
function thrower({ runtime, registry }: Setting) {
  let thrown: () => unknown = () => undefined;
  registry.registerSimpleAction('Throw', '', [], () => thrown());
  runtime.registerWorkflow(
    defineWorkflow('Thrower', async ({ actions }: WorkflowContext) =>
      actions['Throw']!({}, { retry: { maxAttempts: 1 } }).catch((error: any) => error.failureClass),
    ),
  );
  return async (what: () => unknown): Promise<FailureClass> => {
    thrown = what;
    const id = await runtime.startWorkflow('Thrower', { tenant });
    return (await runtime.waitForWorkflowCompletion(id, tenant)).result;
  };
}

async function expectEach(t: TestContext, cases: [string, object, FailureClass][]): Promise<void> {
  const classOf = thrower(setUp(t));
  for (const [why, members, expected] of cases) {
    const found = await classOf(() => {
      throw Object.assign(new Error(why), members);
    });
    assert.equal(found, expected, why);
  }
}

// rule: 15
test('failures are classified by the codes of databases', async (t) => {
  await expectEach(t, [
    ['serialization failure', { code: '40001' }, 'contention'],
    ['deadlock', { code: '40P01' }, 'contention'],
    ['a constraint that failed as the transaction ended', { code: '40002' }, 'consistency'],
    ['lock not available', { code: '55P03' }, 'contention'],
    ['unique violation', { code: '23505' }, 'consistency'],
    ['statement timeout', { code: '57014' }, 'timeout'],
    ['the server shuts down', { code: '57P01' }, 'external'],
    ['the server has too many connections', { code: '53300' }, 'external'],
    ['connection failure', { code: '08006' }, 'external'],
    ['the server is a standby now', { code: '25006' }, 'external'],
    ['no such table', { code: '42P01' }, 'permanent'],
    ['division by zero', { code: '22012' }, 'permanent'],
    ['raised by a function', { code: 'P0001' }, 'permanent'],
    ['wrong password', { code: '28P01' }, 'permanent'],
    ['a bug of the server', { code: 'XX000' }, 'transient'],
    ['busy', { code: 'SQLITE_BUSY' }, 'contention'],
    ['busy, of a snapshot', { code: 'SQLITE_BUSY_SNAPSHOT' }, 'contention'],
    ['unique', { code: 'SQLITE_CONSTRAINT_UNIQUE' }, 'consistency'],
    ['disk full', { code: 'SQLITE_FULL' }, 'external'],
    ['I/O', { code: 'SQLITE_IOERR_WRITE' }, 'external'],
    ['no such column', { code: 'SQLITE_ERROR' }, 'permanent'],
    ['node:sqlite, locked', { code: 'ERR_SQLITE_ERROR', errcode: 262 }, 'contention'],
    ['node:sqlite, constraint', { code: 'ERR_SQLITE_ERROR', errcode: 2067 }, 'consistency'],
  ]);
});

// rule: 15
test('failures are classified by the codes of Node.js and of HTTP', async (t) => {
  await expectEach(t, [
    ['no route', { code: 'EHOSTUNREACH' }, 'external'],
    ['name not known', { code: 'ENOTFOUND' }, 'external'],
    ['connect timeout of fetch', { cause: { code: 'UND_ERR_CONNECT_TIMEOUT' } }, 'timeout'],
    ['certificate', { code: 'CERT_HAS_EXPIRED' }, 'external'],
    ['no HTTP', { code: 'HPE_INVALID_CONSTANT' }, 'external'],
    ['a call that can never work', { code: 'ERR_INVALID_ARG_TYPE' }, 'permanent'],
    ['no such file, yet', { code: 'ENOENT' }, 'transient'],
    ['bad request', { status: 400 }, 'validation'],
    ['not found', { statusCode: 404 }, 'permanent'],
    ['request timeout', { response: { status: 408 } }, 'timeout'],
    ['conflict', { status: 409 }, 'consistency'],
    ['locked', { status: 423 }, 'contention'],
    ['too many requests', { status: 429 }, 'external'],
    ['internal server error', { status: 500 }, 'external'],
    ['not implemented', { status: 501 }, 'permanent'],
    ['gateway timeout', { status: 504 }, 'timeout'],
    ['the status of a process', { status: 1 }, 'transient'],
    ['what is said beats what is guessed', { status: 500, retryable: false }, 'permanent'],
    ['the code beats the status', { code: '40001', status: 400 }, 'contention'],
    ['a class of its own', { failureClass: 'contention' }, 'contention'],
    ['no class that there is', { failureClass: 'odd' }, 'transient'],
  ]);
});

test('real failures of Node.js', async (t) => {
  const setting = setUp(t);
  const classOf = thrower(setting);
  const nobody = `http://127.0.0.1:${await closedPort()}/`;
  assert.equal(await classOf(() => fetch(nobody)), 'external');
  assert.equal(await classOf(() => fetch(nobody, { signal: AbortSignal.abort() })), 'timeout');
  assert.equal(await classOf(() => new URL('nowhere')), 'permanent');
  const rude = createServer((socket) => socket.end('no HTTP\r\n\r\n'));
  await new Promise<void>((resolve) => rude.listen(0, '127.0.0.1', resolve));
  t.after(() => rude.close());
  const { port } = rude.address() as { port: number };
  assert.equal(await classOf(() => fetch(`http://127.0.0.1:${port}/`)), 'external');
  assert.equal(await classOf(() => writeFileSync(join(setting.folder, 'none', 'file'), '')), 'transient');
});

// rule: 15
test('classifiers of the user are asked first, the last one before the others', async (t) => {
  const setting = setUp(t);
  const { registry } = setting;
  const classOf = thrower(setting);
  const quota = () => {
    throw Object.assign(new Error('quota'), { code: 'QUOTA', status: 400 });
  };
  assert.equal(await classOf(quota), 'validation');
  registry.registerFailureClassifier((error: any) => (error?.code === 'QUOTA' ? 'external' : undefined));
  assert.equal(await classOf(quota), 'external');
  registry.registerFailureClassifier(() => {
    throw new Error('a bug');
  });
  registry.registerFailureClassifier(() => 'nonsense' as FailureClass);
  assert.equal(await classOf(quota), 'external', 'one that throws, or names no class, has nothing to say');
  registry.registerFailureClassifier((error: any) => (error?.code === 'QUOTA' ? 'permanent' : undefined));
  assert.equal(await classOf(quota), 'permanent');
  assert.equal(await classOf(() => { throw new Error('another'); }), 'transient');
  assert.throws(() => registry.registerFailureClassifier('x' as never), {
    name: 'InvalidArgumentError',
    message: 'A classifier of failures must be a function',
  });
});
