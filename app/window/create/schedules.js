// When in the painting a style is heard: points of (share of the steps, factor of the weight).

import { rounded } from "../words.js";
import { MOST_HEARD } from "./mix_state.js";

export const SCHEDULES = {
  always: null,
  early: [
    [0, 1],
    [0.4, 1],
    [0.6, 0],
  ],
  late: [
    [0.4, 0],
    [0.6, 1],
    [1, 1],
  ],
  growing: [
    [0, 0],
    [1, 1],
  ],
  fading: [
    [0, 1],
    [1, 0],
  ],
};
// What an artist's own schedule begins with.
export const FIRST_OWN = [
  [0, 0.2],
  [0.5, 1],
  [1, 0.2],
];
const MOST_FACTOR = 2;

export function scheduleName(schedule) {
  const same = (name) => JSON.stringify(SCHEDULES[name]) === JSON.stringify(schedule);
  return Object.keys(SCHEDULES).find(same) ?? "own";
}

export function scheduleText(schedule) {
  return (schedule ?? []).map(([at, factor]) => `${rounded(at)}@${rounded(factor)}`).join(" ");
}

// The points in a text such as "0@0.2 1@1", for a style of this weight; null where it is no schedule.
export function scheduleOf(text, weight) {
  const points = text
    .trim()
    .split(/[\s,]+/)
    .map((point) => point.split("@").map(Number));
  const isFine = (point, place) =>
    point.length === 2 &&
    point[0] >= (place ? points[place - 1][0] : 0) &&
    point[0] <= 1 &&
    Math.abs(point[1]) <= MOST_FACTOR &&
    Math.abs(weight * point[1]) <= MOST_HEARD;
  return points.every(isFine) ? points : null;
}

// The points of a polyline in a box of 100 by 32.
export function scheduleCurve(schedule) {
  const points = schedule ?? [[0, 1]];
  const line = [[0, points[0][1]], ...points, [1, points.at(-1)[1]]];
  return line.map(([at, factor]) => `${at * 100},${29 - factor * 13}`).join(" ");
}
