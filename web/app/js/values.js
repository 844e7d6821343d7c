// The theory as the page needs it: names, what each value means, places on the circle. Order and angles are those of
// the visa-values crate; colours follow the angle, so that values which agree look alike.

export const NAMES = ["self-direction", "stimulation", "hedonism", "achievement", "power", "security", "conformity",
  "tradition", "benevolence", "universalism"];

export const ABOUT = {
  "self-direction": "thinking for oneself and choosing one’s own way",
  "stimulation": "wanting life to be varied, new and daring",
  "hedonism": "enjoying life through pleasure, comfort and fun",
  "achievement": "being capable and getting results that others recognise",
  "power": "having control over people and means, and the standing that comes with it",
  "security": "keeping oneself, one’s family and society safe and stable",
  "conformity": "holding back what would upset others or break rules",
  "tradition": "honouring the customs and ways of life that were handed down",
  "benevolence": "caring for the people one is close to",
  "universalism": "caring for all people and for nature",
};

// The four higher-order values: name, first and last degree of the arc.
export const ARCS = [
  ["openness to change", -18, 72],
  ["self-enhancement", 72, 162],
  ["conservation", 162, 270],
  ["self-transcendence", 270, 342],
];

// Below this a text is silent about a value, for everything the page says in words.
export const SILENT = 0.05;

export const angle = (index) => 36 * index;

export const zero = () => Object.fromEntries(NAMES.map((n) => [n, 0]));

// All ten numbers of a profile object, in circle order; a value that is not named is 0.
export const ten = (profile) => NAMES.map((n) => profile?.[n] ?? 0);

export const fromTen = (numbers) => Object.fromEntries(NAMES.map((n, i) => [n, numbers[i]]));

export const clip = (x, limit = 1) => Math.max(-limit, Math.min(limit, x));

// Two decimals, a real minus sign, a plus where it says something.
export function signed(x) {
  const text = Math.abs(x).toFixed(2);
  if (text === "0.00") return "0";
  return (x < 0 ? "\u2212" : "+") + text;
}
