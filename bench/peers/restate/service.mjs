// The service of Restate, in a process of its own: the workflows, served over HTTP/2 on the loopback.
import './with_resolvers.mjs';
import * as restate from '@restatedev/restate-sdk';
import http2 from 'node:http2';

const noOp = async () => 'ok';

const threeStep = restate.workflow({
  name: 'three-step',
  handlers: {
    run: async (context) => {
      await context.run('first', noOp);
      await context.run('second', noOp);
      return context.run('third', noOp);
    },
  },
});

const approval = restate.workflow({
  name: 'approval',
  handlers: {
    run: async (context) => {
      await context.promise('Submit');
      await context.run('notify', noOp);
      await context.promise('submitted').resolve(true); // what others can see
      const decision = await context.promise('Decision');
      await context.run('update', noOp);
      return decision === 'Approve' ? 'approved' : 'rejected';
    },
    submit: (context, by) => context.promise('Submit').resolve(by),
    submitted: (context) => context.promise('submitted'),
    decide: (context, decision) => context.promise('Decision').resolve(decision),
  },
});

const fanOut = restate.workflow({
  name: 'fan-out',
  handlers: {
    run: async (context, width) => {
      const steps = Array.from({ length: width }, (_, index) => context.run(`step ${index}`, noOp));
      return (await restate.RestatePromise.all(steps)).length;
    },
  },
});

const parked = restate.workflow({
  name: 'parked',
  handlers: {
    run: async (context) => {
      await context.promise('Go');
      return context.run('act', noOp);
    },
    go: (context, value) => context.promise('Go').resolve(value),
  },
});

const ready = restate.service({ name: 'ready', handlers: { check: async () => 'yes' } });

const handler = restate.createEndpointHandler({ services: [threeStep, approval, fanOut, parked, ready] });
http2.createServer(handler).listen(Number(process.argv[2]), '127.0.0.1', () => process.send('listening'));
process.once('disconnect', () => process.exit(1));
