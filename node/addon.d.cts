// What the compiled core offers to src/. Nothing outside of this package uses it.
declare const addon: Record<string, unknown>;
export = addon;
