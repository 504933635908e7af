/** Does what a client does once, and resolves when it has the last answer that it waits for. */
export type Operation = (number: number) => Promise<void>;

/**
 * Clients that each begin an operation as soon as their last one is done, from number `first` on until there
 * were `n`. Gives how long each took, in milliseconds.
 */
export async function closedLoop(
  first: number,
  n: number,
  concurrency: number,
  operation: Operation,
): Promise<Float64Array> {
  const latencies = new Float64Array(n);
  let next = 0;
  const client = async () => {
    while (next < n) {
      const at = next++;
      const began = performance.now();
      await operation(first + at);
      latencies[at] = performance.now() - began;
    }
  };
  await Promise.all(Array.from({ length: Math.min(n, concurrency) }, client));
  return latencies;
}
