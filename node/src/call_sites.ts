/**
 * Where in the source workflow code asks for something. A look at the stack costs more than all else that
 * a command does, so not every call takes one: what is asked for under one name mostly stands in one
 * place, and then the first looks tell for the others.
 */
/** That many calls under a name are looked at, and then one of so many again. */
const looksFirst = 32;
const looksThen = 64;
/** Places and names that are told apart in a process; there is no site for those beyond. */
const placesMax = 65_536;
const namesMax = 16_384;
/** CallSite of the addon: kCallSiteBytesMax. */
const siteLengthMax = 255;
/** Frames of this package above the code's own. */
const framesMax = 12;

type Define = (site: string) => number;

/** A number for each place, which the addon knows by that number; 0: not known. */
const numbers = new Map<string, number>();
/** By the place in the code that runs: which may be compiled, the site names what it was written in. */
const places = new Map<string, number>();

interface Known {
  calls: number;
  /** Of the last call that was looked at; -1: they stand in several places. */
  site: number;
}

/** What is known of the calls of one workflow. */
export class CallSites {
  private readonly known = new Map<string, Known>();

  constructor(private readonly define: Define) {}

  /** Of the call that is under way, of what `kind` and `name` stand for. */
  find(kind: number, name: string): number {
    const key = `${kind}${name}`;
    let known = this.known.get(key);
    if (known === undefined) {
      if (this.known.size >= namesMax) return 0;
      known = { calls: 0, site: 0 };
      this.known.set(key, known);
    }
    const calls = known.calls++;
    if (known.site >= 0 && calls >= looksFirst && calls % looksThen !== 0) return known.site;
    const site = look(this.define);
    if (calls === 0) known.site = site;
    else if (site !== known.site) known.site = -1;
    return site;
  }
}

function isOwn(file: string | null | undefined): boolean {
  if (file == null) return true;
  return file.startsWith(__dirname) || file.startsWith(`file://${__dirname}`) || file.startsWith('node:');
}

/** As Error.prepareStackTrace: the frames themselves. */
function framesOf(_error: unknown, frames: NodeJS.CallSite[]): unknown {
  return frames;
}

function stackAbove<T>(): T | undefined {
  const holder: { stack?: T } = {};
  Error.captureStackTrace(holder, look);
  return holder.stack;
}

function look(define: Define): number {
  const { prepareStackTrace, stackTraceLimit } = Error;
  const restore = (): void => {
    Error.prepareStackTrace = prepareStackTrace as NonNullable<typeof prepareStackTrace>;
  };
  try {
    Error.stackTraceLimit = framesMax;
    Error.prepareStackTrace = framesOf;
    const frames = stackAbove<NodeJS.CallSite[]>();
    restore();
    if (!Array.isArray(frames)) return 0;
    const index = frames.findIndex((frame) => !isOwn(frame.getFileName()));
    const frame = frames[index];
    if (frame === undefined) return 0;
    const place = `${frame.getFileName()}:${frame.getLineNumber()}:${frame.getColumnNumber()}`;
    let number = places.get(place);
    if (number === undefined) {
      if (places.size >= placesMax) return 0;
      number = numberOf(shown(writtenAt(index) ?? place), define);
      places.set(place, number);
    }
    return number;
  } catch {
    // Somebody has frozen Error, or formats stacks and fails: nothing depends on a site.
    return 0;
  } finally {
    restore();
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** The place of that frame in the text of the stack: there Node.js tells lines of the source by its map. */
function writtenAt(frame: number): string | undefined {
  const stack = stackAbove<unknown>();
  if (typeof stack !== 'string') return undefined;
  const line = stack.split('\n').filter((each) => /^ +at /.test(each))[frame];
  return /([^\s(]+:\d+:\d+)\)?$/.exec(line ?? '')?.[1];
}

/** The last parts of the path, as for C++ (src/host/call_site.cc). */
function shown(place: string): string {
  return place.split(/[\\/]/).slice(-2).join('/').slice(-siteLengthMax);
}

function numberOf(site: string, define: Define): number {
  let number = numbers.get(site);
  if (number === undefined) {
    number = define(site);
    numbers.set(site, number);
  }
  return number;
}
