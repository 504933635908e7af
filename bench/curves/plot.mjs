// A curve as an SVG: its panels side by side, on logarithmic scales, in colours that can be read on white and on black.
import * as vega from 'vega';
import { compile } from 'vega-lite';

const grey = '#808890';
const colours = ['#3f8fd2', '#e08030', '#3aa06a', '#c060a8'];

function decadeAround(least, most) {
  const from = 10 ** Math.floor(Math.log10(least));
  return most <= 10 * from ? [1, 2, 5, 10].map((tick) => tick * from) : [5, 10, 20, 50].map((tick) => tick * from);
}

/** Round values from one at or below all of them to one at or above; a decade at least, so that noise looks like it. */
function ticksAround(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const decades = Math.log10(most / least);
  const mantissas = decades < 3 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
    for (const mantissa of mantissas) ticks.push(Number(`${mantissa}e${power}`));
  }
  const from = ticks.findLastIndex((tick) => tick <= least);
  const to = ticks.findIndex((tick) => tick >= most);
  return ticks[to] / ticks[from] < 10 ? decadeAround(ticks[from], ticks[to]) : ticks.slice(from, to + 1);
}

function panel({ title, y, series }, points, xTitle) {
  const values = points.flatMap(({ x, line }) =>
    Object.entries(series(line)).map(([name, value]) => ({ x, y: value, series: name })),
  );
  const names = [...new Set(values.map((value) => value.series))];
  const xs = [...new Set(values.map((value) => value.x))];
  const ys = ticksAround(values.map((value) => value.y));
  const axis = { grid: true, labelExpr: "datum.value < 1000 ? datum.label : format(datum.value, '~s')" };
  return {
    title,
    width: 300,
    height: 220,
    data: { values },
    mark: { type: 'line', point: true },
    encoding: {
      x: {
        field: 'x',
        type: 'quantitative',
        title: xTitle,
        scale: { type: 'log', nice: false },
        axis: { ...axis, values: xs },
      },
      y: {
        field: 'y',
        type: 'quantitative',
        title: y,
        scale: { type: 'log', domain: [ys[0], ys.at(-1)] },
        axis: { ...axis, values: ys, format: '~r' },
      },
      strokeDash: { condition: { test: "indexof(datum.series, 'p99') >= 0", value: [5, 3] }, value: [1, 0] },
      color: {
        field: 'series',
        type: 'nominal',
        title: null,
        sort: names,
        scale: { domain: names, range: colours },
        legend: names.length > 1 ? { orient: 'bottom', columns: 2 } : null,
      },
    },
  };
}

/** `points` are lines with their x. */
export async function plot(curve, points) {
  const spec = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    background: 'transparent',
    spacing: 40,
    hconcat: curve.panels.map((one) => panel(one, points, curve.x.title)),
    resolve: { scale: { color: 'independent' } },
    config: {
      font: 'sans-serif',
      view: { stroke: grey, strokeOpacity: 0.4 },
      title: { color: grey, fontSize: 13 },
      legend: { labelColor: grey, labelLimit: 240 },
      axis: {
        labelColor: grey,
        titleColor: grey,
        tickColor: grey,
        domainColor: grey,
        gridColor: grey,
        gridOpacity: 0.25,
      },
    },
  };
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: 'none' });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}
