// The action http_request, against a real server.
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type TestContext } from 'node:test';
import { defineWorkflow, type HttpRequest, type HttpResponse, type WorkflowContext } from 'pawl';
import { closedPort } from './support/ports.js';
import { setUp, until, type Setting } from './support/runtime.js';

const tenant = 'acme';

interface Seen {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

async function serve(t: TestContext, answer: RequestListener): Promise<{ url: string; seen: Seen[]; server: Server }> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { method, url, headers } = request;
      seen.push({ method: method!, path: url!, headers, body: Buffer.concat(parts).toString() });
      answer(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, server };
}

/** Calls it outside of any workflow. */
function call(t: TestContext, { registry } = setUp(t)) {
  let calls = 0;
  return (parameters: Partial<HttpRequest>): Promise<HttpResponse> =>
    registry.executeAction('http_request', { tenant, idempotencyKey: `call-${++calls}`, parameters });
}

test('what it sends, and what it makes of the answer', async (t) => {
  const { url, seen } = await serve(t, (request, response) => {
    const kind = request.url!.slice(1);
    const answers: Record<string, [string, string | Buffer]> = {
      json: ['application/json', '{"a":[1,null]}'],
      problem: ['application/problem+json; charset=utf-8', '{"b":2}'],
      broken: ['application/json', '{"b":'],
      text: ['text/plain', 'grüße'],
      bytes: ['application/pdf', Buffer.from([0, 255])],
    };
    const [type, body] = answers[kind] ?? ['text/plain', ''];
    response.setHeader('content-type', type);
    response.setHeader('x-kind', kind);
    response.end(body);
  });
  const http = call(t);
  const bodies = [];
  for (const kind of ['json', 'problem', 'broken', 'text', 'bytes', 'nothing']) {
    const { status, body, headers, url: from } = await http({ url: `${url}/${kind}` });
    assert.equal(status, 200);
    assert.equal(headers['x-kind'], kind);
    assert.equal(from, `${url}/${kind}`);
    bodies.push(body);
  }
  assert.deepEqual(bodies, [{ a: [1, null] }, { b: 2 }, '{"b":', 'grüße', new Uint8Array([0, 255]), null]);
  seen.length = 0;
  await http({ url: `${url}/a?q=1`, method: 'post', body: { amount: 5 }, headers: { 'X-Own': 'mine' } });
  await http({ url, method: 'PUT', body: 'text' });
  await http({ url, method: 'PATCH', body: new Uint8Array([65]) });
  await http({ url, method: 'POST', body: '<a/>', headers: { 'content-type': 'application/xml', 'Idempotency-Key': 'own' } });
  assert.deepEqual(
    seen.map(({ method, path, headers, body }) => [method, path, headers['content-type'], headers['idempotency-key'], body]),
    [
      ['POST', '/a?q=1', 'application/json', 'call-7', '{"amount":5}'],
      ['PUT', '/', 'text/plain; charset=utf-8', 'call-8', 'text'],
      ['PATCH', '/', 'application/octet-stream', 'call-9', 'A'],
      ['POST', '/', 'application/xml', 'own', '<a/>'],
    ],
  );
  assert.equal(seen[0]!.headers['x-own'], 'mine');
});

// rules: 14, 15
test('a server that is busy is asked again under the same key; one that refuses is not', async (t) => {
  let busy = 2;
  const { url, seen } = await serve(t, (request, response) => {
    if (request.url === '/busy' && busy-- > 0) response.statusCode = 503;
    if (request.url === '/refuses') response.statusCode = 422;
    response.setHeader('content-type', 'application/json');
    response.end('{"why":"because"}');
  });
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Calls', async ({ actions }: WorkflowContext) => {
      const retry = { initialInterval: 1, maxInterval: 1 };
      const served = await actions['httpRequest']!({ url: `${url}/busy` }, { retry });
      const refused = await actions['httpRequest']!({ url: `${url}/refuses` }, { retry }).catch((error: any) => ({
        name: error.name,
        code: error.code,
        message: error.message.replace(url, ''),
        details: [error.details.status, error.details.body],
        failureClass: error.failureClass,
      }));
      const accepted = await actions['httpRequest']!({ url: `${url}/refuses`, acceptErrors: true });
      return [served.body, refused, accepted.status];
    }),
  );
  const id = await runtime.startWorkflow('Calls', { tenant });
  const { result } = await runtime.waitForWorkflowCompletion(id, tenant);
  assert.deepEqual(result, [
    { why: 'because' },
    {
      name: 'HttpError',
      code: 'HTTP_422',
      message: 'GET /refuses was answered with 422',
      details: [422, { why: 'because' }],
      failureClass: 'validation',
    },
    422,
  ]);
  assert.deepEqual(seen.map(({ path }) => path), ['/busy', '/busy', '/busy', '/refuses', '/refuses']);
  const keys = seen.map(({ headers }) => headers['idempotency-key']);
  assert.equal(new Set(keys.slice(0, 3)).size, 1);
  assert.equal(new Set(keys).size, 3);
});

test('headers that come twice, redirects that lead nowhere, and JSON that can not be carried', async (t) => {
  const { url, seen } = await serve(t, (request, response) => {
    const path = request.url!;
    if (path === '/cookies') response.setHeader('set-cookie', ['a=1', 'b=2']);
    if (path === '/circle') response.writeHead(302, { location: '/circle' });
    if (path === '/file') response.writeHead(302, { location: 'file:///etc/passwd' });
    if (path.startsWith('/json')) response.setHeader('content-type', 'application/json');
    response.end(path === '/json/surrogate' ? '"\\ud800"' : path === '/json/large' ? '[1e999]' : '');
  });
  const http = call(t);
  assert.equal((await http({ url: `${url}/cookies` })).headers['set-cookie'], 'a=1, b=2');
  assert.equal((await http({ url: `${url}/json/surrogate` })).body, '"\\ud800"');
  assert.equal((await http({ url: `${url}/json/large` })).body, '[1e999]');
  for (const path of ['/circle', '/file']) {
    const before = seen.length;
    await assert.rejects(http({ url: url + path }), (error: any) => {
      assert.match(error.message, new RegExp(`GET ${url}${path} came to nothing`));
      assert.equal(error.failureClass, 'permanent');
      return true;
    });
    // Each of its own circle, and no second attempt.
    assert.ok(seen.length - before <= 21, path);
  }
});

test('an answer that is too large, one that never comes, and nobody there', async (t) => {
  const { url } = await serve(t, (request, response) => {
    if (request.url === '/never') return;
    const chunk = Buffer.alloc(1024);
    const pour = () => {
      while (response.write(chunk));
      response.once('drain', pour);
    };
    pour();
  });
  const setting = setUp(t);
  const http = call(t, setting);
  await assert.rejects(http({ url: `${url}/endless`, responseBytesMax: 10_000 }), {
    message: `GET ${url}/endless was answered with more than 10000 bytes (responseBytesMax)`,
    code: 'response_too_large',
  });
  const once = callOnce(setting);
  assert.deepEqual(await once({ url: `${url}/never`, timeout: '50ms' }), [
    'TimeoutError',
    `GET ${url}/never was not answered within 50ms`,
    'timeout',
  ]);
  const gone = `http://127.0.0.1:${await closedPort()}/`;
  const [name, message, failureClass] = await once({ url: gone });
  assert.deepEqual([name, failureClass], ['FetchError', 'external']);
  assert.match(message, new RegExp(`^GET ${gone} came to nothing: .*ECONNREFUSED`));
});

/** Calls it from a workflow that tries once. */
function callOnce({ runtime }: Setting) {
  runtime.registerWorkflow(
    defineWorkflow('Once', async ({ input, actions }: WorkflowContext) =>
      actions['http_request']!(input, { retry: { maxAttempts: 1 } }).catch((error: any) => [
        error.name,
        error.message,
        error.failureClass,
      ]),
    ),
  );
  return async (parameters: Partial<HttpRequest>) => {
    const id = await runtime.startWorkflow('Once', { tenant, initialData: parameters });
    return (await runtime.waitForWorkflowCompletion(id, tenant)).result;
  };
}

test('a call under way is broken off when its execution ends', async (t) => {
  let closed = false;
  const { url, seen, server } = await serve(t, () => {});
  server.on('connection', (socket) => socket.on('close', () => (closed = true)));
  const { runtime } = setUp(t);
  runtime.registerWorkflow(
    defineWorkflow('Calls', async ({ actions }: WorkflowContext) => actions['http_request']!({ url })),
  );
  const id = await runtime.startWorkflow('Calls', { tenant });
  await until(() => seen.length, (calls) => calls === 1);
  await runtime.terminateWorkflow(id, tenant);
  await until(() => closed, Boolean);
});

test('what can not be meant is refused before anything is sent', async (t) => {
  const { url, seen } = await serve(t, (_, response) => response.end());
  const http = call(t);
  const refused: [Partial<HttpRequest> & Record<string, unknown>, RegExp][] = [
    [{}, /url: is missing/],
    [{ url: 'nowhere' }, /url: is no URL/],
    [{ url: 'file:///etc/passwd' }, /url: can't be called by file:/],
    [{ url: 'http://ann:secret@example.com/' }, /url: has a user name or a password/],
    [{ url, method: 'BREW' }, /method: must be one of GET, HEAD/],
    [{ url, headers: { a: 1 } as never }, /headers: a must be text/],
    [{ url, headers: { 'a b': '1' } }, /headers: .*a b/],
    [{ url, timeout: 'soon' as never }, /timeout: /],
    [{ url, responseBytesMax: -1 }, /responseBytesMax: must be a whole number/],
    [{ url, body: {} }, /body: GET has none/],
    [{ url, acceptError: true }, /acceptError: is not a parameter of it.*acceptErrors/],
  ];
  for (const [parameters, message] of refused) {
    await assert.rejects(http(parameters), { message });
  }
  assert.deepEqual(seen, []);
});
