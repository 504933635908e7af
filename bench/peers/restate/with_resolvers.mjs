// Node.js 20 has no Promise.withResolvers, which @restatedev/restate-sdk 1.17 calls.
Promise.withResolvers ??= function withResolvers() {
  let resolve;
  let reject;
  const promise = new this((...functions) => ([resolve, reject] = functions));
  return { promise, resolve, reject };
};
