// The purchases of the example, each branch of it, told live, replayed, evicted, and killed at every crash point: they
// end as the example says, and the money adds up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { samples } from '../../examples/ts/purchase-to-payment/purchase_to_payment.js';
import { crashPoints, filesOf } from './support/crashes.js';
import { Postgres } from './support/postgres.js';
import { Program } from './support/program.js';

const delivered = samples.filter(({ outcome }) => outcome === 'delivered');
const centsOf = ({ order }: (typeof samples)[number]) =>
  order.items.reduce((sum, { quantity, cents }) => sum + quantity * cents, 0);

const expected = {
  endings: Object.fromEntries(samples.map(({ order, outcome }) => [order.id, ['completed', outcome, outcome]])),
  money: {
    budgets: [{ department: 'office', cents: 500_000 - delivered.reduce((sum, each) => sum + centsOf(each), 0) }],
    payments: delivered
      .map((each) => ({ order_id: each.order.id, cents: centsOf(each) }))
      .sort((one, two) => (one.order_id < two.order_id ? -1 : 1)),
  },
};

async function tell(store: string, mode: string, environment: Record<string, string> = {}) {
  const program = Program.run('purchases', [store, mode], environment);
  return { program, ended: await program.ended() };
}

function expectAsInTheExample({ program, ended }: Awaited<ReturnType<typeof tell>>): void {
  assert.deepEqual(ended, { code: 0, signal: null }, program.output);
  assert.deepEqual(JSON.parse(program.output), expected);
}

async function tellUnderKills(store: string, point: string): Promise<void> {
  let kills = 0;
  for (;;) {
    const told = await tell(store, 'live', { PAWL_CRASH_POINT: `${point}:${2 + (kills % 5) * 3}` });
    if (told.ended.signal !== 'SIGKILL') {
      expectAsInTheExample(told);
      break;
    }
    assert.ok(++kills < 200, 'it does not get through');
  }
  assert.ok(kills > 0);
}

for (const mode of ['live', 'evicted', 'restarted']) {
  // rules: 2, 12, 14
  test(`purchases, ${mode}`, async (t) => {
    expectAsInTheExample(await tell(await filesOf(t)('purchases'), mode));
  });
}

for (const point of [...crashPoints, 'database.begun', 'database.before_commit', 'database.after_commit']) {
  // rules: 1, 2, 14
  test(`purchases, killed again and again at ${point}`, async (t) =>
    tellUnderKills(await filesOf(t)('purchases'), point));
}

// rules: 1, 2, 14
test('purchases on PostgreSQL, restarted, and killed again and again', async () => {
  const server = await Postgres.start();
  try {
    expectAsInTheExample(await tell(await server.emptyUrl(), 'restarted'));
    await tellUnderKills(await server.emptyUrl(), 'store.after_commit');
  } finally {
    server.end();
  }
});
