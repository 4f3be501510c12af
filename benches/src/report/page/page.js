'use strict';
// Draws the report that is part of this page. Every number shown is one of the report's.
const report = JSON.parse(document.getElementById('report').textContent);
const SVG = 'http://www.w3.org/2000/svg';

// As many digits as anybody reads.
function number(value) {
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(size >= 10 ? 1 : 3);
}

function element(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The value at a JSON pointer.
function at(pointer) {
  return pointer.slice(1).split('/').reduce((value, key) => (value == null ? value : value[key]), report);
}

// A cell with the number at a pointer.
function numeral(pointer) {
  const value = at(pointer);
  if (typeof value !== 'number') return element('td', { class: 'n' }, ['–']);
  return element('td', { class: 'n', 'data-of': pointer, 'data-value': String(value) }, [number(value)]);
}

function section(id, title, children) {
  const place = document.getElementById(id);
  if (children.length > 0) place.append(element('h2', {}, [title]), ...children);
}

function table(titles, rows) {
  const head = titles.map(title => element('th', title.startsWith('#') ? { class: 'n' } : {}, [title.replace('#', '')]));
  const parts = [element('thead', {}, [element('tr', {}, head)]), element('tbody', {}, rows)];
  return element('div', { class: 'scroll' }, [element('table', {}, parts)]);
}

const servers = [...new Set(report.rounds.map(round => round.server))];
const loads = [...new Set(report.rounds.map(round => round.load))];
const colour = server => `var(--c${servers.indexOf(server) % 6})`;

function key() {
  return element('div', { class: 'key' }, servers.map(server =>
    element('span', {}, [element('i', { style: `background:${colour(server)}` }), server])));
}

// An empty chart with scales; `x` and `y` turn values into places.
function chart(title, xs, ys, xText, yText) {
  const [width, height, left, bottom, top, right] = [720, 300, 62, 34, 12, 14];
  const svg = drawn('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title });
  const span = (scale, from, to) => value =>
    from + (scale.of(value) - scale.of(scale.min)) / (scale.of(scale.max) - scale.of(scale.min) || 1) * (to - from);
  const x = span(xs, left, width - right);
  const y = span(ys, height - bottom, top);
  for (const tick of ys.ticks) {
    svg.append(drawn('line', { class: 'grid', x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(drawn('text', { x: left - 6, y: y(tick) + 4, 'text-anchor': 'end' }, yText(tick)));
  }
  for (const tick of xs.ticks) {
    svg.append(drawn('line', { class: 'grid', x1: x(tick), x2: x(tick), y1: top, y2: height - bottom }));
    svg.append(drawn('text', { x: x(tick), y: height - bottom + 18, 'text-anchor': 'middle' }, xText(tick)));
  }
  const line = (points, attributes) => svg.append(drawn('polyline', {
    ...attributes, points: points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(' ') }));
  return { svg, x, y, line };
}

function logScale(values) {
  const positive = values.filter(value => value > 0);
  const low = Math.floor(Math.log10(Math.min(...positive)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...positive))));
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  return { of: value => Math.log10(Math.max(value, 10 ** low)), min: 10 ** low, max: 10 ** high, ticks };
}

function evenScale(max, count) {
  const ticks = Array.from({ length: count + 1 }, (_, index) => max * index / count);
  return { of: value => value, min: 0, max, ticks };
}

const micros = us => (us >= 1e6 ? `${us / 1e6} s` : us >= 1e3 ? `${us / 1e3} ms` : `${us} µs`);

// Percentiles, each halving of the rest equally wide.
function curves() {
  return loads.flatMap(load => {
    const rounds = report.rounds.filter(round => round.load === load && round.curve.length > 1);
    if (rounds.length === 0) return [];
    const rest = point => 1 / Math.max(1 - point.quantile, 1e-6);
    const points = rounds.flatMap(round => round.curve);
    const xs = logScale([1, ...points.filter(point => point.quantile < 1).map(rest)]);
    const plot = chart(`latency by percentile, ${load}`, xs, logScale(points.map(point => point.us)),
      tick => (tick === 1 ? '0 %' : `${+(100 - 100 / tick).toPrecision(7)} %`), micros);
    for (const round of rounds) {
      const shown = round.curve.filter(point => point.quantile < 1).map(point => [rest(point), point.us]);
      plot.line(shown, { class: round.void ? 'curve thin' : 'curve', stroke: colour(round.server) });
    }
    return [element('h3', {}, [load]), plot.svg, key()];
  });
}

// What happened when: 99th percentile and the longest of each tick.
function times() {
  return loads.flatMap(load => {
    const rounds = report.rounds.filter(round => round.load === load);
    const ticks = rounds.flatMap(round => round.timeline.filter(tick => tick.messages > 0));
    if (ticks.length < 2) return [];
    const xs = evenScale(Math.max(...ticks.map(tick => tick.at_s)) || 1, 5);
    const ys = logScale(ticks.flatMap(tick => [tick.p99_us, tick.max_us]));
    const plot = chart(`latency over time, ${load}`, xs, ys, tick => `${+tick.toFixed(1)} s`, micros);
    for (const round of rounds) {
      const shown = round.timeline.filter(tick => tick.messages > 0);
      const stroke = colour(round.server);
      plot.line(shown.map(tick => [tick.at_s, tick.p99_us]), { class: 'curve', stroke });
      plot.line(shown.map(tick => [tick.at_s, tick.max_us]), { class: 'curve thin', stroke });
    }
    return [element('h3', {}, [`${load}: p99 (solid) and longest (dashed) of each tick`]), plot.svg, key()];
  });
}

// Ratios as points with their intervals, 1 in the middle of nothing: the scale is theirs.
function whiskers() {
  const ratios = report.ratios;
  if (ratios.length === 0) return [];
  const xs = logScale([1, ...ratios.flatMap(ratio => [ratio.low, ratio.high])]);
  const ys = { of: value => value, min: ratios.length, max: 0, ticks: [] };
  const plot = chart('ratios with their intervals', xs, ys, tick => `${+tick.toPrecision(2)}×`, () => '');
  ratios.forEach((ratio, index) => {
    const good = ratio.is_cleared === false ? 'var(--bad)' : 'var(--c0)';
    const y = plot.y(index + 0.5);
    plot.svg.append(drawn('line', { x1: plot.x(ratio.low), x2: plot.x(ratio.high), y1: y, y2: y, stroke: good, 'stroke-width': 2 }));
    plot.svg.append(drawn('circle', { cx: plot.x(ratio.median), cy: y, r: 3.5, fill: good }));
  });
  const rows = ratios.map((ratio, index) => {
    const of = name => `/ratios/${index}/${name}`;
    const verdict = ratio.is_cleared == null ? [] : [ratio.is_cleared ? 'cleared' : 'MISSED'];
    return element('tr', {}, [
      element('td', { class: 'wrap' }, [ratio.load]), element('td', {}, [ratio.metric]), element('td', {}, [`${ratio.a} / ${ratio.b}`]),
      numeral(of('a_median')), numeral(of('b_median')), numeral(of('median')), numeral(of('low')), numeral(of('high')),
      element('td', { class: 'n' }, [ratio.demanded ?? '']),
      element('td', { class: ratio.is_cleared === false ? 'bad' : 'good' }, verdict)]);
  });
  return [plot.svg, table(['load', 'metric', 'a / b', '#a', '#b', '#median', '#from', '#to', '#demanded', ''], rows)];
}

function rounds() {
  const columns = [['#messages/s', 'per_second'], ['#p50 µs', 'latency/p50_us'], ['#p99 µs', 'latency/p99_us'],
    ['#p99.9 µs', 'latency/p999_us'], ['#max µs', 'latency/max_us'], ['#service p99.9 µs', 'service/p999_us'],
    ['#generator late p99 µs', 'lateness/p99_us'], ['#CPU µs/msg', 'cost/cpu_us_per_message'], ['#cores', 'cost/cpu'],
    ['#switches/msg', 'cost/switches_per_message'], ['#written B/msg', 'cost/written_bytes_per_message'],
    ['#RSS MiB', 'cost/rss_mib'], ['#refused', 'refused']];
  const rows = report.rounds.map((round, index) => element('tr', round.void ? { class: 'void', title: round.void } : {}, [
    element('td', {}, [round.server]), element('td', {}, [round.load]),
    ...columns.map(([, path]) => numeral(`/rounds/${index}/${path}`))]));
  return rows.length === 0 ? [] : [table(['server', 'load', ...columns.map(([title]) => title)], rows)];
}

function bars() {
  const rows = report.bars.map((bar, index) => {
    const verdict = bar.is_cleared ? element('td', { class: 'good' }, ['cleared']) : element('td', { class: 'bad' }, ['MISSED']);
    return element('tr', {}, [element('td', { class: 'wrap' }, [bar.name]),
      element('td', {}, [bar.bound === 'at_least' ? '≥' : '≤']), numeral(`/bars/${index}/demanded`),
      numeral(`/bars/${index}/measured`), element('td', {}, [bar.unit]), verdict]);
  });
  return rows.length === 0 ? [] : [table(['bar', '', '#demanded', '#measured', 'unit', ''], rows)];
}

function facts() {
  const rows = report.facts.map((fact, index) => element('tr', {}, [
    element('td', { class: 'wrap' }, [fact.name]), numeral(`/facts/${index}/value`), element('td', {}, [fact.unit])]));
  return rows.length === 0 ? [] : [table(['', '#', ''], rows)];
}

const { machine, disk, ceiling } = report;
document.title = `RingMQ bench: ${report.command}`;
document.getElementById('command').textContent = report.command;
const where = [`${machine.cores} cores of ${machine.processor}, ${machine.memory_mib} MiB, Linux ${machine.kernel}, ${machine.file_system}`];
if (disk) where.push(`disk: ${number(disk.per_second)} durable writes of 4 KiB a second`);
if (ceiling) where.push(`generator, against a server that does nothing: ${number(ceiling.per_second)} sends/s`);
document.getElementById('where').textContent = where.join(' · ');
section('bars', 'Bars', bars());
section('ratios', 'Comparison', whiskers());
section('rounds', 'Rounds', rounds());
section('curves', 'Latency by percentile', curves());
section('times', 'Latency over time', times());
section('facts', 'Single numbers', facts());
section('notes', 'Notes', report.notes.map(note => element('p', {}, [note])));
