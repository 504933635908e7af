// A process that mixes import and require has one Pawl, and so one runtime.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import * as imported from 'pawl';

const required = createRequire(import.meta.url)('pawl');
assert.deepEqual(
  Object.keys(imported).filter((name) => !['default', 'module.exports', '__esModule'].includes(name)).sort(),
  Object.keys(required).sort(),
);
assert.equal(imported.getWorkflowRuntime, required.getWorkflowRuntime);
