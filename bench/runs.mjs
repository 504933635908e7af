// What starts the programs of the benchmarks, each run in a process of its own, and reads what the environment says.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
const pawlBench = join(root, 'build/release/bin/pawl_bench');
const programs = {
  cpp: { command: pawlBench, args: [], cwd: root },
  ts: { command: process.execPath, args: ['--import', 'tsx', 'bench/main.ts'], cwd: join(root, 'node') },
};
export const hosts = Object.keys(programs);

/** For the command of that name, which stands before what it says. What makes no sense ends it, with 2. */
export function runsOf(command) {
  function giveUp(why) {
    console.error(`${command}: ${why}`);
    process.exit(2);
  }
  return {
    giveUp,

    /** The lines that a run prints. Undefined where it failed: by then it has said why. */
    linesOf(host, args) {
      const program = programs[host];
      const { status, signal, stdout, error } = spawnSync(program.command, [...program.args, ...args], {
        cwd: program.cwd,
        env: { ...process.env, PAWL_BENCH: pawlBench },
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      if (error !== undefined) giveUp(`${program.command} can't be run: ${error.message}`);
      if (signal !== null) console.error(`${command}: ended by ${signal}`);
      if (status !== 0) return undefined;
      return stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    },

    /** Undefined where it is not set. */
    numberOf(name) {
      const text = process.env[name] ?? '';
      if (text !== '' && !/^[1-9]\d{0,11}$/.test(text)) giveUp(`${name} takes a number from 1, not '${text}'`);
      return text === '' ? undefined : Number(text);
    },

    folderOf(text) {
      const folder = text === '' ? join(root, 'build/bench') : resolve(text);
      try {
        // Not recursive: Node.js 20 tries for ever where a file system refuses.
        if (!existsSync(folder)) mkdirSync(folder);
        accessSync(folder, constants.W_OK);
      } catch (error) {
        giveUp(`FOLDER takes a folder that can be written to, not '${folder}': ${error.message}`);
      }
      return folder;
    },
  };
}
