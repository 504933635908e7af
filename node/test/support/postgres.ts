// A PostgreSQL server of a test file's own: in a temporary folder, on a free port of the loopback, stopped at its
// end by its own pid.
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import knexModule, { type Knex } from 'knex';
import { closedPort } from './ports.js';

const versions = '/usr/lib/postgresql';

function programs(): string {
  const version = existsSync(versions) ? readdirSync(versions).sort().at(-1) : undefined;
  if (version === undefined) throw new Error(`There is no PostgreSQL in ${versions}: run scripts/bootstrap test`);
  return join(versions, version, 'bin');
}

export class Postgres {
  private databases = 0;
  private tls = false;

  private constructor(
    private readonly folder: string,
    readonly port: number,
  ) {}

  static async start(): Promise<Postgres> {
    const folder = mkdtempSync(join(tmpdir(), 'pawl-postgres-'));
    const server = new Postgres(folder, await closedPort());
    // It refuses to be root's.
    if (process.getuid!() === 0) {
      const id = (flag: string) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
      chmodSync(folder, 0o755);
      chownSync(folder, id('-u'), id('-g'));
    }
    server.run('initdb', '--auth=trust', '--username=pawl', '--encoding=UTF8', '-D', server.data);
    server.begin();
    return server;
  }

  /** A Knex on an empty database. */
  async database(pool: Knex.PoolConfig = { min: 0, max: 10 }): Promise<Knex> {
    return this.connect(await this.create(), pool);
  }

  url(database: string, user = 'pawl'): string {
    return `postgres://${user}@127.0.0.1:${this.port}/${database}`;
  }

  /** Of an empty database. */
  async emptyUrl(): Promise<string> {
    return this.url(await this.create());
  }

  connect(
    database: string,
    pool: Knex.PoolConfig = { min: 0, max: 2 },
    user = 'pawl',
    port = this.port,
    more: Knex.Config = {},
  ): Knex {
    const connection = { host: '127.0.0.1', port, user, database };
    const made = knexModule({ client: 'pg', connection, pool, ...more });
    // Its connections end with the server's.
    (made.client as { logger: { warn: () => void } }).logger.warn = () => undefined;
    return made;
  }

  begin(): void {
    const options = `-p ${this.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=60${this.tls ? ' -c ssl=on' : ''}`;
    this.run('pg_ctl', '-D', this.data, '-w', '-l', join(this.folder, 'log'), '-o', options, 'start');
  }

  /** Whose password is asked for over TCP, as that of no other user is. */
  async addUser(user: string, password: string): Promise<void> {
    const file = join(this.data, 'pg_hba.conf');
    writeFileSync(file, `host all ${user} all scram-sha-256\n${readFileSync(file, 'utf8')}`);
    const admin = this.connect('postgres');
    await admin.raw(`CREATE USER ${user} PASSWORD '${password}'`);
    await admin.raw('SELECT pg_reload_conf()');
    await admin.destroy();
  }

  /** Takes connections over TLS from its next start on. Gives the file of the certificate that stands for it. */
  useTls(): string {
    const [key, certificate] = [join(this.data, 'server.key'), join(this.data, 'server.crt')];
    this.runProgram([
      ...['openssl', 'req', '-new', '-x509', '-nodes', '-days', '2', '-newkey', 'rsa:2048', '-subj', '/CN=localhost'],
      ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', certificate],
    ]);
    this.tls = true;
    const copy = join(this.folder, 'root.crt');
    copyFileSync(certificate, copy);
    return copy;
  }

  /** As a loss of power, but for the disk's own memory. */
  stop(mode: 'fast' | 'immediate' = 'fast'): void {
    this.run('pg_ctl', '-D', this.data, '-w', '-m', mode, 'stop');
  }

  end(): void {
    if (existsSync(join(this.data, 'postmaster.pid'))) this.stop('immediate');
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async create(): Promise<string> {
    const admin = this.connect('postgres');
    const name = `test_${++this.databases}`;
    await admin.raw(`CREATE DATABASE ${name}`);
    await admin.destroy();
    return name;
  }

  private get data(): string {
    return join(this.folder, 'data');
  }

  private run(program: string, ...args: string[]): void {
    this.runProgram([join(programs(), program), ...args]);
  }

  /** As the user of the server. */
  private runProgram(command: string[]): void {
    const [file, ...rest] = process.getuid!() === 0 ? ['runuser', '-u', 'postgres', '--', ...command] : command;
    // A sanitizer that is loaded into the tests is none of the server's.
    const { LD_PRELOAD: _, ...env } = process.env;
    const { status, error } = spawnSync(file!, rest, { cwd: this.folder, stdio: 'ignore', env });
    if (status === 0) return;
    const log = join(this.folder, 'log');
    throw new Error(`${command[0]} failed (${error ?? status}): ${existsSync(log) ? readFileSync(log, 'utf8') : 'no log'}`);
  }
}
