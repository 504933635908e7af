import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInNewContext } from 'node:vm';
import { decode, deepFreeze, encode, encodeDetails } from '../dist/codec.js';
import { classify } from '../dist/classification.js';
import { errorFromFailure, writeFailure } from '../dist/failures.js';
import { NonRetryableError, PayloadError, TimeoutError, ValidationError } from 'pawl';

const through = (value: unknown) => decode(encode(value));

test('plain data comes back as it was', () => {
  for (const value of [null, true, 0, -1.5, 1e308, '', 'ü€😀\u2028\0', [], {}, [[null]], { a: [{ b: 'c' }] }]) {
    assert.deepEqual(through(value), value);
  }
  assert.equal(encode(undefined), '');
  assert.equal(decode(''), undefined);
});

// rule: 3
test('what JSON changes, code sees changed', () => {
  const date = new Date(0);
  assert.equal(through(date), '1970-01-01T00:00:00.000Z');
  assert.deepEqual(through({ a: undefined, b: [undefined, , 1], at: date }), {
    b: [null, null, 1],
    at: '1970-01-01T00:00:00.000Z',
  });
  assert.equal(encode(-0), '0');
  class Money {
    #secret = 1;
    constructor(readonly amount: number) {}
    get secret() {
      return this.#secret;
    }
  }
  assert.deepEqual(through(new Money(5)), { amount: 5 });
  assert.deepEqual(through(Object.create(null, { a: { value: 1, enumerable: true } })), { a: 1 });
  assert.deepEqual(through({ toJSON: () => ({ x: new Uint8Array([1]) }) }), { x: new Uint8Array([1]) });
  assert.equal(through({ toJSON: () => undefined }), undefined);
  assert.deepEqual(through([new Number(1), new String('s'), new Boolean(false)]), [1, 's', false]);
  const error = Object.assign(new TypeError('no', { cause: new Error('why') }), { code: 'E1' });
  const seen = through({ error }) as any;
  assert.deepEqual(
    [seen.error.name, seen.error.message, seen.error.code, seen.error.cause.message],
    ['TypeError', 'no', 'E1', 'why'],
  );
});

test('the name __proto__ is a name like any other', () => {
  const value = JSON.parse('{"__proto__":{"x":1},"when":{"$bytes":"AQ=="}}') as object;
  const seen = through(value) as object;
  assert.deepEqual(Object.keys(seen), ['__proto__', 'when']);
  assert.equal((seen as any).x, undefined);
});

// rule: 3
test('bytes are carried; what looks like carried bytes survives', () => {
  assert.deepEqual(through(new Uint8Array([0, 255, 7])), new Uint8Array([0, 255, 7]));
  const bytes = through({ file: Buffer.from('hi') }) as any;
  assert.equal(Object.getPrototypeOf(bytes.file), Uint8Array.prototype);
  assert.equal(Buffer.from(bytes.file).toString(), 'hi');
  assert.deepEqual(through(new Uint8Array([9, 8, 7]).subarray(1)), new Uint8Array([8, 7]));
  for (const value of [
    { $bytes: 'AQ==' },
    { $$bytes: 'AQ==' },
    { $$$bytes: [{ $bytes: 1 }] },
    { $bytes: new Uint8Array([1]) },
    { $bytes: 'AQ==', more: 1 },
    [{ $bytes: { $bytes: null } }],
    { $byte: 1 },
  ]) {
    assert.deepEqual(through(value), value, JSON.stringify(value));
  }
});

// rule: 3
test('what cannot be carried is refused with the path to it', () => {
  const cycle: any = { a: { b: [] } };
  cycle.a.b.push(cycle);
  let deep: unknown = 1;
  for (let i = 0; i < 600; i++) deep = [deep];
  const refused: [unknown, RegExp][] = [
    [{ items: [1, 2, { price: NaN }] }, /^payload\.items\[2\]\.price: NaN can't be carried/],
    [Infinity, /^payload: Infinity can't/],
    [{ 'a-b': -Infinity }, /^payload\["a-b"\]: -Infinity/],
    [{ n: 10n }, /^payload\.n: a BigInt can't be carried\. Use a number or a string/],
    [{ m: new Map() }, /^payload\.m: a Map can't be carried\. Use Object\.fromEntries/],
    [[new Set()], /^payload\[0\]: a Set can't/],
    [{ f() {} }, /^payload\.f: a function can't/],
    [{ s: Symbol('x') }, /^payload\.s: a symbol can't/],
    [{ p: Promise.resolve() }, /^payload\.p: a promise can't be carried\. Is an await missing\?/],
    [{ t: 'a\ud800b' }, /^payload\.t: text with a lone surrogate can't/],
    [{ '\udc00': 1 }, /member name with a lone surrogate/],
    [{ d: new Date(NaN) }, /^payload\.d: an invalid Date can't/],
    [{ r: /x/ }, /^payload\.r: a RegExp can't/],
    [{ f: new Float64Array(1) }, /^payload\.f: a Float64Array can't be carried\. Of the binary types, Uint8Array can/],
    [new ArrayBuffer(1), /^payload: a ArrayBuffer|^payload: an? ArrayBuffer/],
    [cycle, /^payload\.a\.b\[0\]: a cycle can't/],
    [deep, /nested more than 500 deep/],
  ];
  for (const [value, message] of refused) {
    assert.throws(
      () => encode(value),
      (error) => error instanceof PayloadError && message.test(error.message),
      String(message),
    );
  }
  const twice = { x: 1 };
  assert.deepEqual(through([twice, twice]), [twice, twice], 'the same object twice is no cycle');
});

test('what hides what it holds is refused, and so is what another realm made', () => {
  const hidden: [string, RegExp][] = [
    ['new Map([[1, 2]])', /^payload\.x: a Map can't be carried\. Use Object\.fromEntries/],
    ['new Set([1])', /^payload\.x: a Set can't be carried\. Use \[\.\.\.set\]/],
    ['Promise.resolve(1)', /^payload\.x: a promise can't be carried/],
    ['new WeakMap()', /^payload\.x: a WeakMap can't/],
    ['new WeakRef({})', /^payload\.x: a WeakRef can't be carried\. It shows nothing of what it holds/],
    ['/x/', /^payload\.x: a RegExp can't/],
    ['new Int16Array(1)', /^payload\.x: a Int16Array can't be carried\. Of the binary types, Uint8Array can/],
    ['new DataView(new ArrayBuffer(1))', /^payload\.x: a DataView can't/],
    ['new SharedArrayBuffer(1)', /^payload\.x: a SharedArrayBuffer can't/],
    ['[1][Symbol.iterator]()', /^payload\.x: an Array Iterator can't/],
    ['(function* () {})()', /^payload\.x: a Generator can't/],
    ['new Proxy(new Map(), {})', /^payload\.x: a Map can't/],
    ['new Date(NaN)', /^payload\.x: an invalid Date can't/],
    ['Object(1n)', /^payload\.x: a BigInt can't/],
    ['new Intl.NumberFormat()', /^payload\.x: an Intl\.NumberFormat can't/],
  ];
  for (const [source, message] of hidden) {
    for (const x of [eval(source), runInNewContext(source)]) {
      const refused = (error: unknown) => error instanceof PayloadError && message.test(error.message);
      assert.throws(() => encode({ x }), refused, source);
      assert.throws(() => encode({ x: [{ ok: 1 }, x] }), /^PayloadError: payload\.x\[1\]: /, source);
    }
  }
  const ofNode: [object, RegExp][] = [
    [new Response('a'), /a Response can't/],
    [new Headers({ a: 'b' }), /a Headers can't/],
    [new URLSearchParams('a=b'), /an? URLSearchParams can't/],
    [new AbortController().signal, /an AbortSignal can't/],
    [new Blob(['a']), /a Blob can't/],
  ];
  for (const [value, message] of ofNode) assert.throws(() => encode([value]), message);
});

test('what another realm made is carried as what it is', () => {
  const [plain, bytes, date, number, error, several] = runInNewContext(`[
    { a: [1, { b: {} }] }, new Uint8Array([1, 2]), new Date(0), Object(5),
    Object.assign(new TypeError('no', { cause: 1 }), { code: 'E' }),
    new AggregateError([new Error('one')], 'all'),
  ]`);
  assert.deepEqual(through(plain), { a: [1, { b: {} }] });
  assert.deepEqual(through([bytes]), [new Uint8Array([1, 2])]);
  assert.equal(through(date), '1970-01-01T00:00:00.000Z');
  assert.equal(through(number), 5);
  const { stack, ...members } = through(error);
  assert.match(stack, /^TypeError: no/);
  assert.deepEqual(members, { name: 'TypeError', message: 'no', cause: 1, code: 'E' });
  assert.equal(through(several).errors[0].message, 'one');
  class Tagged {
    shown = 1;
    get [Symbol.toStringTag]() {
      return 'Tagged';
    }
  }
  assert.deepEqual(through(new Tagged()), { shown: 1 });
  assert.deepEqual(through(new (class {})()), {});
});

test('random values: through the codec once or twice is the same, and JSON agrees', () => {
  let state = 12_345;
  const below = (n: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const keys = ['a', 'b', '$bytes', '$$bytes', '__proto__', 'constructor', 'toString', 'ü', '', '1'];
  const value = (depth: number): unknown => {
    switch (below(depth > 0 ? 10 : 7)) {
      case 0:
        return null;
      case 1:
        return below(2) === 0;
      case 2:
        return (below(2_000_001) - 1_000_000) / (1 + below(7));
      case 3:
        return String.fromCodePoint(32 + below(500), 0x1f600 + below(50));
      case 4:
        return new Date(below(2 ** 31));
      case 5:
        return Uint8Array.from({ length: below(6) }, () => below(256));
      case 6:
        return undefined;
      case 7:
      case 8:
        return Array.from({ length: below(4) }, () => value(depth - 1));
      default:
        return Object.fromEntries(
          Array.from({ length: below(4) }, () => [keys[below(keys.length)], value(depth - 1)]),
        );
    }
  };
  for (let i = 0; i < 20_000; i++) {
    const text = encode(value(4));
    const seen = decode(text);
    assert.equal(encode(seen), text, `case ${i}`);
    if (text !== '') JSON.parse(text);
    if (!text.includes('$') && text !== '') assert.deepEqual(seen, JSON.parse(text));
  }
});

test('frozen all the way down', () => {
  const value: any = deepFreeze(through({ a: [{ b: 1 }] }));
  assert.throws(() => (value.a[0].b = 2), TypeError);
  assert.throws(() => value.a.push(1), TypeError);
});

test('details of a log line are never refused', () => {
  const thrower = { toString: () => assert.fail(), get x(): never { throw new Error('x'); } };
  const text = encodeDetails([1n, NaN, undefined, new Error('e'), thrower, { ok: 1 }]);
  const seen = JSON.parse(text) as any[];
  assert.deepEqual([seen[0], seen[1], seen[2], seen[3].message, seen[5]], ['1', 'NaN', null, 'e', { ok: 1 }]);
});

/** As the addon would hand it back. */
function failureOf(thrown: unknown): any {
  const flat: (string | number)[] = [];
  writeFailure(flat, thrown);
  const classes = ['transient', 'contention', 'external', 'timeout', 'permanent', 'validation', 'consistency'];
  const read = (): any => {
    const [name, message, stack, code, details] = flat.splice(0, 5) as string[];
    const [failureClass, count] = flat.splice(0, 2) as number[];
    const causes = Array.from({ length: count! }, read);
    return {
      name,
      message,
      ...(stack === '' ? {} : { stack }),
      ...(code === '' ? {} : { code }),
      ...(details === '' ? {} : { details: JSON.parse(details!) }),
      ...(causes.length === 0 ? {} : { causes }),
      class: classes[failureClass!],
    };
  };
  const failure = read();
  assert.equal(flat.length, 0);
  return failure;
}

// rule: 3
test('errors keep name, message, stack, code, details and causes', () => {
  const thrown = Object.assign(new RangeError('too far', { cause: new Error('root') }), {
    code: 'E_FAR',
    details: { by: 3, raw: new Uint8Array([1]) },
  });
  const error: any = errorFromFailure(failureOf(thrown));
  assert.equal(error instanceof Error, true);
  assert.equal(error.name, 'RangeError');
  assert.equal(error.message, 'too far');
  assert.equal(error.stack, thrown.stack);
  assert.equal(error.code, 'E_FAR');
  assert.deepEqual(error.details, { by: 3, raw: new Uint8Array([1]) });
  assert.equal(error.cause.message, 'root');
  assert.equal(String(error), 'RangeError: too far');

  const aggregate: any = errorFromFailure(failureOf(new AggregateError([new Error('a'), 'b'], 'all')));
  assert.deepEqual(aggregate.errors.map((e: Error) => e.message), ['a', 'b']);
});

test('whatever is thrown becomes a failure', () => {
  assert.deepEqual(failureOf('text'), { name: 'Error', message: 'text', details: 'text', class: 'transient' });
  assert.equal(failureOf(undefined).message, 'undefined');
  assert.equal(failureOf(null).message, 'null');
  assert.deepEqual(failureOf({ a: 1 }).details, { a: 1 });
  assert.equal(failureOf(Symbol('s')).message, 'Symbol(s)');
  const nasty = { get message(): string { throw new Error('no'); } };
  assert.equal(failureOf(nasty).message, '[object Object]');
  const circular = new Error('a');
  circular.cause = circular;
  assert.equal(failureOf(circular).causes[0].message, 'a');
  assert.equal(failureOf(new Error('\ud800')).message, '\ufffd');
});

test('what can be read of an error is told, whatever its other members do', () => {
  const failing = (key: string) =>
    Object.defineProperty(new RangeError('the bank is closed'), key, {
      get: () => (undefined as unknown as { status: number }).status,
    });
  for (const key of ['code', 'details', 'cause', 'errors', 'failureClass', 'retryable']) {
    const failure = failureOf(failing(key));
    assert.deepEqual([failure.name, failure.message, failure.class], ['RangeError', 'the bank is closed', 'transient'], key);
  }
  assert.deepEqual(
    [failureOf(failing('name')).name, failureOf(failing('message')).message, failureOf(failing('stack')).stack],
    ['Error', '[unprintable]', undefined],
  );
  const revoked = () => {
    const { proxy, revoke } = Proxy.revocable(new Error('gone'), {});
    revoke();
    return proxy;
  };
  assert.deepEqual(failureOf(revoked()), { name: 'Error', message: '[unprintable]', details: ['[unprintable]'], class: 'transient' });
  assert.equal(failureOf(new Error('x', { cause: revoked() })).causes[0].message, '[unprintable]');
  assert.equal(failureOf(Object.assign(new Error('x'), { errors: revoked() })).message, 'x');
  for (const failureClass of ['toString', 'constructor', '__proto__', 'nope']) {
    assert.equal(classify(Object.assign(new Error('x'), { failureClass })), 'transient', failureClass);
  }
  const many: Error & { errors?: unknown[] } = new Error('many');
  many.errors = Array.from({ length: 32 }, () => many);
  const count = (failure: any): number => 1 + (failure.causes ?? []).reduce((n: number, cause: any) => n + count(cause), 0);
  assert.equal(count(failureOf(many)), 33);
});

// rule: 15
test('failures are classified by what is known about them', () => {
  const withCode = (code: string) => Object.assign(new Error('x'), { code });
  assert.equal(classify(new Error('x')), 'transient');
  assert.equal(classify(new TypeError('x is not a function')), 'transient');
  assert.equal(classify('text'), 'transient');
  assert.equal(classify(withCode('ECONNREFUSED')), 'external');
  assert.equal(classify(new TypeError('fetch failed', { cause: withCode('ENOTFOUND') })), 'external');
  assert.equal(classify(withCode('ETIMEDOUT')), 'timeout');
  assert.equal(classify(new TimeoutError('late')), 'timeout');
  assert.equal(classify(new DOMException('x', 'AbortError')), 'timeout');
  assert.equal(classify(withCode('40P01')), 'contention');
  assert.equal(classify(withCode('23505')), 'consistency');
  assert.equal(classify(new NonRetryableError('never')), 'permanent');
  assert.equal(classify(Object.assign(new Error('x'), { retryable: false })), 'permanent');
  assert.equal(classify(new ValidationError('bad')), 'validation');
  assert.equal(classify(new PayloadError('bad')), 'permanent');
});
