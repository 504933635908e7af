// A discrete-event simulation: a clock that jumps from one event to the next, servers with a queue before them, and the
// log of a database. From one seed it goes the same way each time. Times are in seconds.
import { randomExponential, randomGamma, randomLcg, randomUniform } from 'd3-random';
import TinyQueue from 'tinyqueue';

const shape = 4; // of what varies: the deviation is half of the mean

export class Simulation {
  now = 0;
  #events = new TinyQueue([], (a, b) => a.at - b.at || a.number - b.number);
  #number = 0;

  constructor(seed) {
    this.source = randomLcg(seed);
    this.#unit = { exponential: randomExponential.source(this.source)(1), gamma: randomGamma.source(this.source)(shape, 1 / shape) };
    this.uniform = randomUniform.source(this.source)(1);
  }
  #unit;

  after(seconds, what) {
    this.#events.push({ at: this.now + seconds, number: this.#number++, what });
  }

  /** Up to that time. */
  run(until) {
    for (let event = this.#events.peek(); event !== undefined && event.at <= until; event = this.#events.peek()) {
      this.#events.pop();
      this.now = event.at;
      event.what();
    }
    this.now = until;
  }

  exponential(mean) {
    return mean * this.#unit.exponential();
  }

  /** What a processor takes for about so long. */
  varied(mean) {
    return mean * this.#unit.gamma();
  }

  /** One of 0 … count - 1. */
  choice(count) {
    return Math.min(count - 1, Math.floor(this.uniform() * count));
  }
}

/** First in, first out, without a bound: what has to wait in it shows in the latency. */
class Queue {
  #items = [];
  #head = 0;

  get length() {
    return this.#items.length - this.#head;
  }

  push(item) {
    this.#items.push(item);
  }

  /** Undefined where there is none. */
  shift() {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head++];
    if (this.#head > 1_024 && 2 * this.#head > this.#items.length) {
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
    return item;
  }

  take(most) {
    const taken = [];
    while (taken.length < most && this.length > 0) taken.push(this.shift());
    return taken;
  }
}

/** So many servers, and one queue before them: processors, or the one thread of Redis. */
export class Servers {
  #queue = new Queue();
  #busy = 0;
  #spent = 0;
  #since = 0;

  constructor(simulation, count) {
    this.simulation = simulation;
    this.count = count;
  }

  use(seconds, done) {
    if (this.#busy === this.count) this.#queue.push({ seconds, done });
    else this.#begin(seconds, done);
  }

  #begin(seconds, done) {
    this.#busy++;
    this.simulation.after(seconds, () => {
      this.#busy--;
      this.#spent += seconds;
      const next = this.#queue.shift();
      if (next !== undefined) this.#begin(next.seconds, next.done);
      done();
    });
  }

  /** From here on it is counted anew. */
  forget() {
    this.#spent = 0;
    this.#since = this.simulation.now;
  }

  /** The share of its time that it was busy; what began before counts whole. */
  get utilisation() {
    return this.#spent / this.count / (this.simulation.now - this.#since);
  }
}

/** Does one thing after the other, each on one of those processors. */
export class Thread {
  #queue = new Queue();
  #running = false;

  constructor(processors) {
    this.processors = processors;
  }

  run(seconds, done) {
    if (this.#running) this.#queue.push({ seconds, done });
    else this.#begin({ seconds, done });
  }

  #begin({ seconds, done }) {
    this.#running = true;
    this.processors.use(seconds, () => {
      this.#running = false;
      const next = this.#queue.shift();
      if (next !== undefined) this.#begin(next);
      done();
    });
  }
}

/** Takes all that is there, up to `most`, as a batch, and the next one when that is done. */
export class Batches {
  #queue = new Queue();
  #carrying = false;
  batches = 0;

  /** `carry(items, done)` */
  constructor(most, carry) {
    this.most = most;
    this.carry = carry;
  }

  add(item) {
    this.#queue.push(item);
    if (!this.#carrying) this.#next();
  }

  #next() {
    this.#carrying = true;
    this.batches++;
    const taken = this.#queue.take(this.most);
    this.carry(taken, () => {
      this.#carrying = false;
      if (this.#queue.length > 0) this.#next();
    });
  }
}

/** The write-ahead log: whoever asks while it is synced is part of the next sync. */
export class Log {
  #waiting = [];
  #syncing = false;
  #bytes = 0;
  #since = 0;
  syncs = 0;

  constructor(simulation, { syncSeconds, bytesPerSecond }) {
    this.simulation = simulation;
    this.syncSeconds = syncSeconds;
    this.bytesPerSecond = bytesPerSecond;
  }

  write(bytes, done) {
    this.#waiting.push({ bytes, done });
    if (!this.#syncing) this.#sync();
  }

  #sync() {
    const these = this.#waiting;
    this.#waiting = [];
    this.#syncing = true;
    this.syncs++;
    const bytes = these.reduce((sum, { bytes }) => sum + bytes, 0);
    this.simulation.after(this.syncSeconds + bytes / this.bytesPerSecond, () => {
      this.#bytes += bytes;
      this.#syncing = false;
      // First, so that what these lead to at once is part of the sync after it.
      if (this.#waiting.length > 0) this.#sync();
      for (const { done } of these) done();
    });
  }

  forget() {
    this.#bytes = 0;
    this.#since = this.simulation.now;
    this.syncs = 0;
  }

  /** The share of the bytes that can go through. However often it syncs: more commits then share one. */
  get utilisation() {
    return this.#bytes / this.bytesPerSecond / (this.simulation.now - this.#since);
  }
}
