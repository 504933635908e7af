// The built-in actions on records, on the store's own database and on a real PostgreSQL.
import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import type { Knex } from 'knex';
import { ValidationError, type RuntimeOptions } from 'pawl';
import { Postgres } from './support/postgres.js';
import { setUp } from './support/runtime.js';

const tenant = 'acme';

let server: Postgres;
before(async () => {
  server = await Postgres.start();
});
after(() => server?.end());

const databases: Record<string, (t: TestContext) => Promise<RuntimeOptions>> = {
  'the store': async () => ({}),
  PostgreSQL: async (t) => {
    const database = await server.database();
    t.after(() => database.destroy());
    return { database };
  },
};

async function shop(t: TestContext, options: RuntimeOptions) {
  const { runtime, registry } = setUp(t, options);
  const database: Knex = runtime.database;
  await database.schema.createTable('products', (table) => {
    table.increments('id');
    table.string('name').notNullable().unique();
    table.integer('stock').defaultTo(0);
    table.json('details');
    table.string('order');
  });
  let key = 0;
  const run = (name: string, parameters: Record<string, unknown>): Promise<any> =>
    registry.executeAction(name, { tenant, idempotencyKey: `k-${++key}`, parameters });
  return { database, run };
}

for (const [where, options] of Object.entries(databases)) {
  // rules: 14, 15
  test(`records are created, changed and deleted in ${where}`, async (t) => {
    const { database, run } = await shop(t, await options(t));
    const { record } = await run('create_database_record', {
      table: 'products',
      record: { name: "Robert'); DROP TABLE products;--", details: { size: [1, 2] }, order: null },
    });
    const { details, ...rest } = record;
    assert.deepEqual(rest, { id: 1, name: "Robert'); DROP TABLE products;--", stock: 0, order: null });
    assert.deepEqual(typeof details === 'string' ? JSON.parse(details) : details, { size: [1, 2] });
    for (const name of ['b', 'c']) await run('createDatabaseRecord', { table: 'products', record: { name, order: 'x' } });
    const change = (parameters: object) => run('update_database_record', { table: 'products', ...parameters });
    assert.deepEqual(await change({ where: { order: null }, changes: { stock: 5 } }), { count: 1 });
    assert.deepEqual(await change({ where: { name: ['b', 'c'], order: 'x' }, changes: { stock: 7 } }), { count: 2 });
    assert.deepEqual(await change({ where: { name: "' OR 1 = 1 --" }, changes: { stock: 9 } }), { count: 0 });
    assert.deepEqual(await run('delete_database_record', { table: 'products', where: { stock: 7 } }), { count: 2 });
    assert.deepEqual(await database('products').pluck('stock'), [5]);
  });

  // rules: 15, 26
  test(`what is no table or column of the application's is refused in ${where}`, async (t) => {
    const { database, run } = await shop(t, await options(t));
    await database('products').insert({ name: 'a' });
    const refused: [string, Record<string, unknown>, RegExp][] = [
      ['create_database_record', { table: 'product', record: { name: 'x' } }, /no table 'product'\. Did you mean 'products'/],
      ['create_database_record', { table: 'products', record: { nmae: 'x' } }, /record: .* no column 'nmae'\. Did you mean 'name'/],
      ['create_database_record', { table: 'products', record: {} }, /record has no column/],
      ['create_database_record', { table: 'products', record: { 'name) VALUES (1); --': 'x' } }, /no column/],
      ['create_database_record', { table: 'products; DROP TABLE products', record: { name: 'x' } }, /no table/],
      ['create_database_record', { table: 'a.b.c', record: { name: 'x' } }, /no name of a table/],
      ['create_database_record', { table: 'nowhere.products', record: { name: 'x' } }, /no table/],
      ['create_database_record', { table: 'products', record: { constructor: 'x' } }, /no column 'constructor'/],
      ['update_database_record', { table: 'products', where: {}, changes: { name: 'x' } }, /where has no column/],
      ['update_database_record', { table: 'products', where: { id: 1 }, changes: {} }, /changes has no column/],
      ['delete_database_record', { table: 'products', where: {} }, /where has no column/],
      ['delete_database_record', { table: 'products' }, /where/],
      ['delete_database_record', { table: 'workflow_events', where: { id: 1 } }, /none of the application's/],
      ['delete_database_record', { table: 'pawl_action_results', where: { tenant } }, /none of the application's/],
      ['delete_database_record', { table: 'pg_catalog.pg_class', where: { relname: 'x' } }, /none of the application's/],
      ['delete_database_record', { table: 'information_schema.sql_features', where: { feature_id: 'x' } }, /none of the application's/],
    ];
    for (const [name, parameters, message] of refused) {
      await assert.rejects(run(name, parameters), (error: Error) => {
        assert.ok(error instanceof ValidationError, `${name} ${JSON.stringify(parameters)}: ${error.name} ${error.message}`);
        assert.match(error.message, message);
        return true;
      });
    }
    await assert.rejects(run('create_database_record', { table: 'products', record: { name: 'a' } }), (error: any) => {
      assert.equal(error.failureClass, 'consistency');
      return true;
    });
    assert.deepEqual(await database('products').pluck('name'), ['a']);
  });
}

test('a table in a schema of PostgreSQL', async (t) => {
  const database = await server.database();
  t.after(() => database.destroy());
  const { run } = await shop(t, { database });
  await database.raw('CREATE SCHEMA billing; CREATE TABLE billing.invoices(id int PRIMARY KEY, tags text[], paid boolean)');
  await run('create_database_record', { table: 'billing.invoices', record: { id: 1, tags: ['a', 'b'], paid: true } });
  const change = { table: 'billing.invoices', where: { id: 1 }, changes: { paid: false } };
  assert.deepEqual(await run('update_database_record', change), { count: 1 });
  assert.deepEqual(await database('billing.invoices'), [{ id: 1, tags: ['a', 'b'], paid: false }]);
  await assert.rejects(run('update_database_record', { ...change, table: 'billing.invoice' }), /Did you mean 'invoices'/);
});
