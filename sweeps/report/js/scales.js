// Axes: from values to places, and where the ticks are.

function linearScale([low, high], [from, to]) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

function logScale([low, high], range) {
  const inner = linearScale([Math.log(low), Math.log(high)], range);
  return (value) => inner(Math.log(value));
}

function linearTicks([low, high], wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((part) => part * power).find((size) => size >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) ticks.push(k * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9) + (step / power === 2.5 ? 1 : 0));
  return ticks.map((value) => [value, value.toFixed(Math.min(digits, 6)).replace("-", "−")]);
}

// 1-2-5 steps of each decade; every 1 and 2 only, or decades only, where that would be too many.
function logTicks([low, high], wanted) {
  const found = (parts) => {
    const ticks = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade += 1) {
      for (const part of parts) {
        const value = part * 10 ** decade;
        if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
      }
    }
    return ticks;
  };
  const choices = [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]].map(found);
  const ticks = choices.find((list) => list.length <= wanted) ?? choices.at(-1);
  if (ticks.length < 2) return linearTicks([low, high], wanted);
  return ticks.map((value) => [value, plainNumber(value)]);
}

function plainNumber(value) {
  return value >= 1 ? String(Math.round(value * 10) / 10) : String(Number(value.toPrecision(2)));
}

function padded([low, high], share, log) {
  if (log) {
    const factor = Math.max((high / low) ** share, 1.02);
    return [low / factor, high * factor];
  }
  const room = (high - low || Math.abs(high) || 1) * share;
  return [low - room, high + room];
}

// Places in the list of the points that no other one beats at the same rate or less, by rising rate.
function upperLeft(points) {
  const order = points.map((_, k) => k).sort((a, b) => points[a].rate - points[b].rate || points[b].value - points[a].value);
  let best = -Infinity;
  return order.filter((k) => {
    if (points[k].value <= best) return false;
    best = points[k].value;
    return true;
  });
}
