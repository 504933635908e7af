// Compiles src/ into dist/, which is CommonJS inside a package of ES modules.
import { spawnSync } from 'node:child_process';
import { rmSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
writeFileSync(join(dist, 'package.json'), '{ "type": "commonjs" }\n');
const tsc = spawnSync(
  process.execPath,
  [join(here, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(here, 'tsconfig.build.json')],
  { stdio: 'inherit' },
);
process.exitCode = tsc.status ?? 1;

// The examples of a checkout find the package, and what they run with, as if they had installed it.
const modules = join(here, '..', 'examples', 'ts', 'node_modules');
rmSync(modules, { recursive: true, force: true });
mkdirSync(modules, { recursive: true });
for (const [name, target] of Object.entries({
  pawl: '.',
  tsx: 'node_modules/tsx',
  typescript: 'node_modules/typescript',
  '@types': 'node_modules/@types',
})) {
  symlinkSync(join('..', '..', '..', 'node', target), join(modules, name));
}
