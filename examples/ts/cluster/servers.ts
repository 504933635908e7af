// PostgreSQL and Redis for the demo: in a folder of their own, on free ports of the loopback, stopped by their own pids.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function listens(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const answered = await once(socket, 'connect').then(() => true, () => false);
    socket.destroy();
    if (answered) return;
    await pause(20);
  }
}

function run(program: string, ...args: string[]): string {
  // PostgreSQL refuses to be root's.
  const command = process.getuid!() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups'] : [];
  const [first, ...rest] = [...command, program, ...args];
  const { status, stdout, stderr } = spawnSync(first!, rest, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program}: ${stderr || stdout}`);
  return stdout;
}

export class Database {
  private constructor(
    private readonly programs: string,
    private readonly folder: string,
    readonly port: number,
  ) {}

  static async start(folder: string): Promise<Database> {
    const versions = '/usr/lib/postgresql';
    if (!existsSync(versions)) throw new Error('There is no PostgreSQL here: run scripts/bootstrap test');
    const programs = join(versions, readdirSync(versions).sort().at(-1)!, 'bin');
    mkdirSync(folder, { recursive: true });
    if (process.getuid!() === 0) {
      const id = (flag: string) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
      chmodSync(folder, 0o755);
      chownSync(folder, id('-u'), id('-g'));
    }
    const database = new Database(programs, folder, await freePort());
    run(join(programs, 'initdb'), '--auth=trust', '--username=pawl', '--encoding=UTF8', '-D', join(folder, 'data'));
    const options = `-p ${database.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''`;
    run(join(programs, 'pg_ctl'), '-D', join(folder, 'data'), '-w', '-l', join(folder, 'log'), '-o', options, 'start');
    return database;
  }

  get url(): string {
    return `postgresql://pawl@127.0.0.1:${this.port}/postgres`;
  }

  /** Rows, with their columns as text. */
  ask(sql: string): string[][] {
    const { status, stdout, stderr } = spawnSync(
      join(this.programs, 'psql'), ['-h', '127.0.0.1', '-p', String(this.port), '-U', 'pawl', '-qAtF', '\t', '-c', sql, 'postgres'],
      { encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(stderr);
    return stdout.split('\n').filter((line) => line !== '').map((line) => line.split('\t'));
  }

  end(): void {
    run(join(this.programs, 'pg_ctl'), '-D', join(this.folder, 'data'), '-w', '-m', 'immediate', 'stop');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class Redis {
  private process?: ChildProcess;

  private constructor(readonly port: number) {}

  static async start(): Promise<Redis> {
    const redis = new Redis(await freePort());
    await redis.begin();
    return redis;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Empty: nothing of it is kept. */
  async begin(): Promise<void> {
    const child = spawn('redis-server', ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
      stdio: 'ignore',
    });
    child.once('error', () => {
      throw new Error('There is no redis-server here: run scripts/bootstrap test');
    });
    this.process = child;
    await listens(this.port);
  }

  async kill(): Promise<void> {
    const child = this.process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}
