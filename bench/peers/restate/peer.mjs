// Restate: a server with a log and a store of its own (RocksDB), and a service in a process of its own.
// The process that imports this file is their client, over HTTP/1.1 with connections that stay open.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sleep } from '../lib/load.mjs';
import { spawnServer } from '../lib/processes.mjs';
import { freePort, lastLine } from '../lib/services.mjs';

const require = createRequire(import.meta.url);
const programs = dirname(require.resolve(`@restatedev/restate-server-${process.platform}-${process.arch}/package.json`));
const program = join(programs, 'bin', 'restate-server');
const folder = join(process.env.PEERS_FOLDER, 'restate');
const log = join(folder, 'log');

let engine;
let service;

// --- HTTP ------------------------------------------------------------------------------------------------

const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });

function call(port, method, path, body) {
  const headers = { accept: 'application/json', ...(body !== undefined && { 'content-type': 'application/json' }) };
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, method, path, agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => (text += part));
      response.on('end', () => {
        if (response.statusCode < 300) resolve(text ? JSON.parse(text) : undefined);
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
      });
    });
    request.on('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** The same in this process and in those that it forks. */
const ports = () => JSON.parse(process.env.RESTATE_PORTS);
const post = (path, body) => call(ports().ingress, 'POST', path, body);
const attach = (workflow, id) => call(ports().ingress, 'GET', `/restate/workflow/${workflow}/${id}/attach`);

async function untilItWorks(what, attempt) {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === 1_200) throw new Error(`${what} within a minute: ${error.message}; its log ends: ${lastLine(log)}`);
      await sleep(50);
    }
  }
}

// --- The peer ----------------------------------------------------------------------------------------------

export async function reset() {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const [ingress, admin, fabric, own] = [await freePort(), await freePort(), await freePort(), await freePort()];
  process.env.RESTATE_PORTS = JSON.stringify({ ingress, admin, fabric, service: own });
}

export async function startEngine() {
  const { ingress, admin, fabric } = ports();
  const output = openSync(log, 'a');
  engine = spawnServer([program, '--no-logo'], {
    signal: 'KILL',
    stdio: ['ignore', output, output],
    env: {
      ...process.env,
      RESTATE_BASE_DIR: join(folder, 'data'),
      RESTATE_NODE_NAME: 'bench',
      RESTATE_LISTEN_MODE: 'tcp',
      RESTATE_BIND_IP: '127.0.0.1',
      RESTATE_ADVERTISED_HOST: '127.0.0.1',
      RESTATE_BIND_PORT: `${fabric}`,
      RESTATE_ADMIN__BIND_PORT: `${admin}`,
      RESTATE_INGRESS__BIND_PORT: `${ingress}`,
      RESTATE_LOG_FILTER: 'warn',
      RESTATE_DISABLE_TELEMETRY: 'true',
      DO_NOT_TRACK: '1',
    },
  });
  process.env.RESTATE_PID = `${engine.pid}`;
  await untilItWorks('the server does not answer', async () => {
    await call(admin, 'GET', '/health');
    await call(ingress, 'GET', '/restate/health');
  });
}

async function endEngine(signal) {
  engine.kill(signal);
  await engine.ended;
}
export const killEngine = () => endEngine('SIGKILL');
export const stopEngine = () => endEngine('SIGTERM');

export async function startApp({ again = false } = {}) {
  const own = ports().service;
  service = fork(fileURLToPath(new URL('service.mjs', import.meta.url)), [`${own}`], {
    env: { ...process.env, RESTATE_LOGGING: 'ERROR' },
  });
  await once(service, 'message');
  if (!again) await call(ports().admin, 'POST', '/deployments', { uri: `http://127.0.0.1:${own}` });
  await untilItWorks('no invocation goes through', () => post('/ready/check'));
}

export async function stopApp() {
  service.kill('SIGTERM');
  await once(service, 'exit');
}

/** Without the client, which is this process. */
export const processes = () => ({ restate: Number(process.env.RESTATE_PID), service: service.pid });

export async function completed(workflow) {
  const query = `SELECT count(*) AS n FROM sys_invocation WHERE target_service_name = '${workflow}'
    AND target_handler_name = 'run' AND status = 'completed' AND completion_result = 'success'`;
  const { rows } = await call(ports().admin, 'POST', '/query', { query });
  return Number(rows[0].n);
}

export const threeStep = (id) => post(`/three-step/${id}/run`);
export const fanOut = (id, width) => post(`/fan-out/${id}/run`, width);

export const approval = {
  start: (id) => post(`/approval/${id}/run/send`),
  submit: (id) => post(`/approval/${id}/submit`, 'user-1'),
  submitted: (id) => post(`/approval/${id}/submitted`),
  approve: (id) => post(`/approval/${id}/decide`, 'Approve'),
  result: (id) => attach('approval', id),
};

export const parked = {
  start: (id) => post(`/parked/${id}/run/send`),
  wake: (id) => post(`/parked/${id}/go`, 'go'),
  result: (id) => attach('parked', id),
};
