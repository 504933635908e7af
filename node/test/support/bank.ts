// Two accounts in a database of the application's, and a workflow that moves money by the action 'move'.
import type { TestContext } from 'node:test';
import type { Knex } from 'knex';
import { defineWorkflow, TransactionIsolationLevel, type DatabaseActionContext, type WorkflowContext } from 'pawl';
import { Postgres } from './postgres.js';
import { setUp, type Setting } from './runtime.js';

const tenant = 'acme';

export interface Bank extends Setting {
  database: Knex;
  balance(id?: string): Promise<number>;
  run(input?: unknown): Promise<{ status: string; result: any; error: any; executionId: string }>;
}

/** On a database of the server's, or on that one. */
export async function openBank(t: TestContext, at: Postgres | Knex): Promise<Bank> {
  const bank = at instanceof Postgres ? await at.database() : at;
  t.after(() => bank.destroy());
  const setting = setUp(t, { database: bank });
  await bank.schema.createTable('accounts', (table) => {
    table.string('id').primary();
    table.integer('cents').notNullable();
  });
  await bank('accounts').insert([{ id: 'a', cents: 500 }, { id: 'b', cents: 500 }]);
  setting.runtime.registerWorkflow(
    defineWorkflow('Move', async ({ actions, input }: WorkflowContext) => actions['move']!(input)),
  );
  return Object.assign(setting, {
    database: bank,
    balance: async (id = 'a') => (await bank('accounts').where({ id }).first()).cents as number,
    run: async (input: unknown = {}) => {
      const id = await setting.runtime.startWorkflow('Move', { tenant, initialData: input });
      return setting.runtime.waitForWorkflowCompletion(id, tenant) as any;
    },
  });
}

export function registerMove(
  { registry }: Setting,
  handler: (params: any, context: DatabaseActionContext) => unknown,
  options: { timeout?: number; maxAttempts?: number; isolation?: TransactionIsolationLevel } = {},
): void {
  const { maxAttempts = 3, isolation = TransactionIsolationLevel.READ_COMMITTED, ...rest } = options;
  registry.registerAction(
    { name: 'Move', isolation, unknown: 'allow', retry: { maxAttempts, initialInterval: 1 }, ...rest },
    handler,
  );
}
