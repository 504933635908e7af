// How the demo prints: headings, tables, and colours where a terminal shows them.
const colours = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code: number) => (text: string) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);

export const bold = paint(1);
export const dim = paint(2);
export const red = paint(31);
export const green = paint(32);
export const yellow = paint(33);
export const cyan = paint(36);

export function say(text = ''): void {
  console.log(text === '' ? '' : `   ${text}`);
}

let headings = 0;

export function heading(text: string): void {
  headings++;
  console.log(`\n ${bold(cyan(String(headings)))} ${bold(text)}\n`);
}

function width(text: string): number {
  return [...text.replace(/\x1b\[\d+m/g, '')].length;
}

export type Row = string[] | { line: string };

/** Columns as wide as they must be; a { line } goes across. */
export function table(head: string[], rows: Row[]): void {
  const cells = [head, ...rows.filter((row) => Array.isArray(row))];
  const widths = head.map((_, i) => Math.max(...cells.map((row) => width(row[i] ?? ''))));
  const print = (row: string[]) =>
    say(row.map((cell, i) => cell + ' '.repeat(widths[i]! - width(cell))).join('  ').trimEnd());
  print(head.map((title) => dim(title)));
  for (const row of rows) Array.isArray(row) ? print(row) : say(row.line);
}
