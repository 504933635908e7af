/**
 * The numbers of one execution: from the seed in its history, so the same on every replay. The
 * algorithm is part of the replay rules: another one would need a number recorded in the history.
 * Source: sfc32 of PractRand (Chris Doty-Humphrey, public domain).
 */
export class SeededRandom {
  private a: number;
  private b: number;
  private c = 0;
  private counter = 1;

  constructor(seedHigh: number, seedLow: number) {
    this.a = seedHigh | 0;
    this.b = seedLow | 0;
    // The first outputs still show the seed.
    for (let i = 0; i < 12; i++) this.word();
  }

  /** 32 bits. */
  word(): number {
    const result = (((this.a + this.b) | 0) + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) + result;
    this.c |= 0;
    return result >>> 0;
  }

  /** From 0 up to but not including 1, with 53 bits, like Math.random. */
  fraction(): number {
    return ((this.word() >>> 5) * 67_108_864 + (this.word() >>> 6)) / 9_007_199_254_740_992;
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i += 4) {
      let word = this.word();
      for (let j = i; j < Math.min(i + 4, bytes.length); j++) {
        bytes[j] = word & 0xff;
        word >>>= 8;
      }
    }
  }

  /** Version 4, as of RFC 9562. */
  uuid(): `${string}-${string}-${string}-${string}-${string}` {
    const bytes = Buffer.alloc(16);
    this.fill(bytes);
    bytes[6] = (bytes[6]! & 0x0f) | 0x40;
    bytes[8] = (bytes[8]! & 0x3f) | 0x80;
    const hex = bytes.toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }
}
